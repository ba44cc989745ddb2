"""`manage.py meanings`: what versions of earlier releases mean is found out, and what is not certain is listed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from apimgmt.actors import Actor
from apimgmt.management.base import ActorCommand
from apimgmt.models import ModelVersion
from apimgmt.registry import freezing
from apimgmt.registry.meaning_sentences import open_sentences
from apimgmt.roles import REGISTER
from apimgmt.visibility import models_visible_to


class Command(ActorCommand):
    help = "Write down what versions of earlier releases mean, and list those whose meaning is not certain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--again", action="store_true", help="try those again that could not be read")

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        actor.require(REGISTER)
        if options["again"]:
            ModelVersion.objects.filter(meaning__isnull=True).update(freeze_tried_at=None)
        n_frozen = sum(freezing.freeze(version) is not None for version in freezing.pending())
        visible = ModelVersion.objects.all()
        if actor.user is not None:
            visible = visible.filter(model__in=models_visible_to(actor.user))
        unsure = freezing.open_versions(visible)
        document = {
            "written_down": n_frozen,
            "not_certain": [
                {
                    "model_id": one.version.model_id,
                    "version": one.version.number,
                    "why": open_sentences(one.meaning, one.fault),
                }
                for one in unsure
            ],
        }
        lines = [f"The meaning of {n_frozen} version(s) was written down."] if n_frozen else []
        for one in unsure:
            lines.append(f"{one.version} (model {one.version.model_id}):")
            lines += [f"    {sentence}" for sentence in open_sentences(one.meaning, one.fault)]
        lines.append(
            "Settle them in the console, on the page Meaning not certain: that makes the next version of the same file."
            if unsure
            else "Every version's meaning is certain."
        )
        self.print(document, lines, as_json=options["json"])
