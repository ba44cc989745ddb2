"""What is done once before the processes start: tables, static files, demo. `python -m runtime.release`.

A later start, with nothing new, passes through in the time that Django needs to load.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from contract.settings import read_settings


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    migrate()
    collect_static()
    environment = read_settings()
    if environment.uses_embedded_database or environment.demo:
        call_command("demo")


def migrate() -> None:
    executor = MigrationExecutor(connection)
    steps = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if steps:
        print(f"Bringing the database up to date: {steps} steps ...", flush=True)  # noqa: T201
        call_command("migrate", interactive=False, verbosity=0)


def collect_static() -> None:
    """Copy, name by content and compress the static files, if any of them changed since."""
    done = Path(settings.STATIC_ROOT) / ".collected"
    fingerprint = _static_fingerprint()
    if done.exists() and done.read_text() == fingerprint:
        return
    done.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0)
    done.write_text(fingerprint)


def _static_fingerprint() -> str:
    found = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = os.stat(storage.path(name))
            found.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()


if __name__ == "__main__":
    main()
