"""Handing work to the Celery worker once the transaction is committed.

A broker that is away loses nothing: what has to be done stands in the database, and `tasks.sweep` finds it again.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def enqueue_on_commit(task: Task, *args: Any) -> None:
    """Queue `task(*args)` after the current transaction; at once when there is none."""

    def send() -> None:
        try:
            task.apply_async(args)
        except (OperationalError, OSError) as error:
            logger.warning("enqueue_failed task=%s args=%s error=%s", task.name, args, error)

    transaction.on_commit(send)
