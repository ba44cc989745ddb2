"""What is done once before the processes start: tables, static files, demo. `python -m runtime.release`."""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.core.management import call_command

from runtime.environment import read_environment


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=1)
    if settings.STATIC_ROOT:
        call_command("collectstatic", interactive=False, verbosity=0)
    environment = read_environment()
    if environment.uses_embedded_database or environment.demo:
        call_command("demo")


if __name__ == "__main__":
    main()
