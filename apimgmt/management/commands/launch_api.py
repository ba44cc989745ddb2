"""`manage.py launch_api`: what the Launch button does."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from apimgmt.actors import Actor
from apimgmt.calling.addresses import api_url
from apimgmt.lifecycle import services
from apimgmt.management.base import ActorCommand, visible_model, wait_until_confirmed
from apimgmt.models import ApiType, PredictionAPI


class Command(ActorCommand):
    help = "Create a prediction API on a model and build it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("model_id", type=int)
        parser.add_argument("--type", required=True, choices=ApiType.values)
        parser.add_argument("--allow", action="append", default=[], metavar="CIDR", help="may be given several times")
        parser.add_argument("--wait", action="store_true", help="return once it operates; if it fails, say why")

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        model = visible_model(actor, options["model_id"])
        launched = services.launch_api(model, options["type"], networks=options["allow"], actor=actor)
        if not options["allow"]:
            self.stderr.write("Nobody may call this API yet: add a network with `manage.py api allow ID CIDR`.")
        api_id = launched.api.pk
        try:
            if options["wait"]:
                wait_until_confirmed(api_id, after_build_id=0)
        finally:
            api = PredictionAPI.objects.get(pk=api_id)
            url = api_url(api)
            document = {"api_id": api_id, "api_url": url, "api_key": launched.key, "status": api.status}
            lines = [
                f"API ID: {api_id}",
                f"API URL: {url}",
                f"API key: {launched.key}",
                f"Status: {api.get_status_display()}",
            ]
            self.print(document, lines, as_json=options["json"])
