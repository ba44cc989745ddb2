"""What is done once before the processes start: tables, static files, demo. `python -m runtime.release`."""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from runtime.environment import read_environment


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    _migrate()
    if settings.STATIC_ROOT:
        call_command("collectstatic", interactive=False, verbosity=0)
    environment = read_environment()
    if environment.uses_embedded_database or environment.demo:
        call_command("demo")


def _migrate() -> None:
    executor = MigrationExecutor(connection)
    steps = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if steps:
        print(f"Bringing the database up to date: {steps} steps ...", flush=True)  # noqa: T201
    call_command("migrate", interactive=False, verbosity=0)


if __name__ == "__main__":
    main()
