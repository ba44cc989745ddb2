"""`manage.py register_model FILE --name N ...`: what the Register model page does, from the shell."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from apimgmt.actors import Actor
from apimgmt.errors import Refused
from apimgmt.management.base import ActorCommand
from apimgmt.models import Workspace
from apimgmt.registry.confirmables import CODES
from apimgmt.registry.metadata import is_metadata
from apimgmt.registry.registration import beside_of, register_model
from apimgmt.registry.review.as_text import review_lines, told_lines
from apimgmt.visibility import workspaces_visible_to


class Command(ActorCommand):
    help = "Register a model file as a model, or as the next version of a known one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "file",
            type=Path,
            metavar="FILE",
            help="the model: an ONNX file, or one of the formats that are turned into ONNX (docs/model-formats.md)",
        )
        parser.add_argument("--name", required=True, help="the model's name; a known name makes its next version")
        parser.add_argument(
            "--metadata",
            type=Path,
            metavar="FILE",
            help="its description; default: FILE ending in .json",
        )
        parser.add_argument("--sample", type=Path, metavar="CSV", help="real rows to learn the columns from")
        parser.add_argument("--target", metavar="COL", help="the column of the sample that the model predicts")
        parser.add_argument(
            "--output",
            action="append",
            default=[],
            dest="outputs",
            metavar="ROLE=NAME",
            help="what an output of the file is: value, label, probabilities, scores or ignored; can be repeated",
        )
        parser.add_argument(
            "--confirm",
            action="append",
            default=[],
            choices=CODES,
            help="say that what a refusal asks of you is right; can be repeated",
        )
        parser.add_argument("--workspace", metavar="W", help="the workspace's name; default: the only one, or Demo")

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        beside = beside_of(options["file"]) if options["metadata"] is None else None
        if beside is not None and not is_metadata(beside.read_bytes()):
            self.stderr.write(f"{beside} is no metadata file: it is not used.")
        registered = register_model(
            workspace_of(actor, options["workspace"]),
            options["name"],
            options["file"],
            metadata=content_of(options["metadata"]),
            sample_csv=content_of(options["sample"]),
            target=options["target"],
            outputs=options["outputs"],
            confirmed=options["confirm"],
            actor=actor,
        )
        version = registered.version
        document = {"model_id": registered.model.pk, "version": version.number, "sample": version.spec["sample"]}
        described = version.described()
        lines = [
            *review_lines(described, registered.findings),
            f"Sample row: {json.dumps(version.spec['sample'], ensure_ascii=False)}",
            f"Registered version {version.number} of {registered.model.name}. The model's ID is {registered.model.pk}.",
        ]
        if options["json"]:  # standard output is one JSON object; what is told still has to be heard
            for line in told_lines(described, registered.findings):
                self.stderr.write(line)
        self.print(document, lines, as_json=options["json"])


def workspace_of(actor: Actor, name: str | None) -> Workspace:
    """The workspace of this name; without one the only one that the actor sees, or the demo's. Raises `Refused`."""
    visible = Workspace.objects.all() if actor.user is None else workspaces_visible_to(actor.user)
    names = list(visible.values_list("name", flat=True))
    if name is None and len(names) != 1 and "Demo" not in names:
        raise Refused(f"Name the workspace with --workspace. There are: {', '.join(names) or 'none'}.")
    wanted = name or (names[0] if len(names) == 1 else "Demo")
    if wanted not in names:
        raise Refused(f"There is no workspace {wanted}. There are: {', '.join(names) or 'none'}.")
    return visible.get(name=wanted)


def content_of(path: Path | None) -> bytes | None:
    """Raises `Refused` if the file can't be read."""
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}.") from None
