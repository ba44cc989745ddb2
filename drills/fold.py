"""`python -m drills.fold`: what beat sends the build worker once a minute, now and in this process."""

from __future__ import annotations

import os

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from apimgmt.tasks import fold_ledgers

    fold_ledgers()
