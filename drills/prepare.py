"""`python -m drills.prepare`: what every drill finds. One process, so that Django starts once; it prints the APIs.

Run with an installation's variables while its gateway runs: the builds are carried out here.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import django

from drills.apis import DrillApi


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from django.core.management import call_command

    call_command("demo", stdout=sys.stderr)
    call_command("collectstatic", interactive=False, verbosity=0)
    print(json.dumps([asdict(api) for api in _launch_all()]))


def _launch_all() -> list[DrillApi]:
    """Two official APIs, a trial, a slow one that is not launched, and a second version of one of them."""
    from apimgmt.models import Model, Workspace

    workspace = Workspace.objects.get(name="Demo")
    Workspace.objects.filter(pk=workspace.pk).update(api_options=20)
    apis = [
        _launched(Model.objects.get(workspace=workspace, name=name), kind)
        for name, kind in (
            ("Breast cancer", "official"),
            ("Penguin species", "official"),
            ("Diabetes progression", "trial"),
        )
    ]
    _register(workspace, "Penguin species", Path("demo/models/penguins.onnx"))
    return apis


def _launched(model: object, kind: str) -> DrillApi:
    from apimgmt.actors import shell_actor
    from apimgmt.lifecycle.builds import run_build
    from apimgmt.lifecycle.services import launch_api
    from apimgmt.models import Build, Model, PredictionAPI

    assert isinstance(model, Model)  # noqa: S101
    launched = launch_api(model, kind, networks=["0.0.0.0/0"], actor=shell_actor(None))
    run_build(Build.objects.get(api=launched.api).pk)
    status = PredictionAPI.objects.get(pk=launched.api.pk).status
    if status != "operating":
        raise SystemExit(f"{model.name} is {status}")
    return DrillApi(model.pk, model.name, kind, launched.api.pk, launched.key, launched.api.version.spec["sample"])


def _register(workspace: object, name: str, path: Path) -> None:
    from apimgmt.actors import shell_actor
    from apimgmt.models import Workspace
    from apimgmt.registry.registration import register_model

    assert isinstance(workspace, Workspace)  # noqa: S101
    register_model(workspace, name, path, actor=shell_actor(None))


if __name__ == "__main__":
    main()
