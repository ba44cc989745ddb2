"""However many builds take their time, stopping and sweeping go on, and no build is queued twice."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from apimgmt.actors import shell_actor
from apimgmt.lifecycle import services
from apimgmt.models import ApiType, Model, ModelVersion
from console.workers import WORKERS
from tests.live.conftest import register
from tests.live.test_life import until
from tests.stack import Stack

WAITING = 3
N_BUILDS = WORKERS["builds"] + WAITING


@contextmanager
def loading_worker(stack: Stack) -> Iterator[None]:
    """A gateway worker that has applied everything and never ends loading: each build waits for it at Confirm."""
    worker_id = uuid.uuid4().hex
    stack.psql(
        "INSERT INTO apimgmt_gatewayworker (id, host, pid, slot, port, state, epoch, applied_revision, started_at,"
        " heartbeat_at, gone_reason, dismissed_by) SELECT %s, 'slow', 1, 0, 1, 'serving', epoch, 1000000000,"
        " clock_timestamp(), clock_timestamp() + interval '1 hour', '', '' FROM apimgmt_installation",
        [worker_id],
    )
    try:
        yield
    finally:
        stack.psql("UPDATE apimgmt_gatewayworker SET gone_at = now(), gone_reason = 'left' WHERE id = %s", [worker_id])
    until(lambda: not unfinished(stack), 60)


def unfinished(stack: Stack) -> int:
    return stack.psql("SELECT count(*) FROM apimgmt_build WHERE finished_at IS NULL")[0][0]


def launch_many(stack: Stack, name: str) -> list[str]:
    """Launch a trial on each of `N_BUILDS` models that share one file."""
    registered = register(stack, name)
    with stack.orm():
        version = ModelVersion.objects.get(model_id=registered["model_id"], number=registered["version"])
        launched = []
        for number in range(N_BUILDS):
            model = Model.objects.create(workspace=version.model.workspace, name=f"{name} {number}", created_by="tests")
            ModelVersion.objects.create(
                model=model,
                number=1,
                sha256=version.sha256,
                size_bytes=version.size_bytes,
                task=version.task,
                spec=version.spec,
                created_by="tests",
            )
            launched.append(services.launch_api(model, ApiType.TRIAL, networks=[], actor=shell_actor(None)).api.pk)
    return launched


def waiting_tasks(stack: Stack) -> int:
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        return int(client.llen("builds"))


def test_slow_builds_keep_nobody_from_stopping_and_are_queued_once(running: Stack, launch, request):
    stopped, lost = launch(), launch()
    with loading_worker(running):
        launched = launch_many(running, request.node.name[:60])
        at_confirm = "SELECT count(*) FROM apimgmt_build WHERE api_id = ANY(%s) AND stages #>> '{4,state}' = 'running'"
        until(lambda: running.psql(at_confirm, [launched])[0][0] == WORKERS["builds"], 100)

        stopped.do("stop", wait=False)
        # A stop whose task was lost: only the sweep can find it.
        running.psql("UPDATE apimgmt_predictionapi SET target = 'stopped' WHERE id = %s", [lost.id])

        assert until(lambda: (stopped.status()["status"], lost.status()["status"]) == ("stopped", "stopped"), 30)
        assert running.psql(at_confirm, [launched])[0][0] == WORKERS["builds"]
        time.sleep(5)  # some sweeps, none of which may queue a build again
        assert waiting_tasks(running) == WAITING


def test_the_two_workers_end_together(running: Stack):
    one, _other = set(running.worker.pids) - {running.worker.pid}

    os.kill(one, signal.SIGKILL)

    assert until(lambda: not running.worker.pids)
    assert "has ended (-9). The other one stops too." in running.worker.log()


def test_no_worker_outlives_the_process_that_started_it(running: Stack):
    running.worker.kill()

    assert until(lambda: not running.worker.pids)
