"""Handing work to the Celery workers once the transaction is committed.

Tasks are named, not imported: they call the services that call this. A broker that is away loses nothing: what has to
be done stands in the database, and the sweep finds it again.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from apimgmt.models import Build

logger = logging.getLogger(__name__)

RUN_BUILD = "apimgmt.tasks.run_build"
RECONCILE = "apimgmt.tasks.reconcile"
SWEEP = "apimgmt.tasks.sweep"

BUILD_QUEUE = "builds"
"""Where builds wait (`CELERY_TASK_ROUTES`). Everything else is quick and has a queue, and workers, of its own."""


def enqueue_on_commit(task: str, *args: Any) -> None:
    """Queue the task after the current transaction; at once when there is none."""
    transaction.on_commit(lambda: _send(task, args))


def enqueue_build(build_id: int) -> None:
    """Queue a build, and note that its task is on its way."""
    Build.objects.filter(pk=build_id).update(queued_at=timezone.now())
    enqueue_on_commit(RUN_BUILD, build_id)


def waiting_build_tasks() -> int:
    """How many tasks wait in the builds' queue. Those that a worker has taken are not counted."""
    with current_app.connection_or_acquire() as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue=BUILD_QUEUE).message_count)


def _send(task: str, args: tuple[Any, ...]) -> None:
    try:
        current_app.send_task(task, args)
    except (OperationalError, OSError) as error:
        logger.warning("enqueue_failed task=%s args=%s error=%s", task, args, error)
