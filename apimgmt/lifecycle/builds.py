"""One build: the five timed stages from the stored file to "confirmed by every gateway".

A build may be run again from the start at any time, by any worker: each stage only reads, but for `publish` and the
end, which `lifecycle` makes safe. An advisory lock on the build's id keeps two runs apart; it dies with its database
session, so the build of a killed worker is free at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property

from django.conf import settings
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.db.utils import InterfaceError, OperationalError
from django.utils import timezone

from apimgmt.actors import SYSTEM
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.confirmation import Confirmation, confirmation_of, older_worker_names
from apimgmt.lifecycle.progress import LISTENER
from apimgmt.lifecycle.reconciling import confirm_receipts
from apimgmt.lifecycle.stages import waiting_stages
from apimgmt.models import Build, BuildKind
from apimgmt.registry import model_store
from apimgmt.sentences import Message, message
from contract.fault_points import fault_point
from contract.model_spec import ModelSpec
from inference.sandbox.inspection import InspectionChild, InspectionRefused, SelfTestFailed

logger = logging.getLogger(__name__)

# First half of the advisory lock's two-part key; the second is the build's id.
BUILD_LOCK_CLASS = 0x4255
# How long a build waits for a first gateway worker to appear before it says that none is running.
NO_GATEWAY_GRACE_S = 3.0
# A task just sent is left alone for this long before the sweep calls it lost.
TASK_GRACE_S = 1.5


class StageFailed(Exception):
    """A stage found why the build can't succeed: whole sentences. `log_tail` is what a person may want to read."""

    def __init__(self, *reasons: Message, log_tail: str = "") -> None:
        super().__init__(*reasons)
        self.reasons = list(reasons)
        self.log_tail = log_tail


class NoLongerWanted(Exception):
    """The build was cancelled, or ended, while it ran."""


def run_build(build_id: int) -> None:
    """Run one build to its end, unless it has ended or somebody else is running it."""
    with _claim(build_id) as is_ours:
        build = Build.objects.select_related("version", "previous", "api").filter(pk=build_id, finished_at=None).first()
        if is_ours and build is not None:
            _Run(build).run()


@contextmanager
def _claim(build_id: int) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [BUILD_LOCK_CLASS, build_id])
        is_ours = bool(cursor.fetchone()[0])
    try:
        yield is_ours
    finally:
        if is_ours and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [BUILD_LOCK_CLASS, build_id])


def lost_build_ids(*, are_tasks_waiting: bool) -> list[int]:
    """Unfinished builds that nobody runs and no queued task will run, for the sweep.

    A build's task is lost when a worker took it and died (`queued_at` is null), or when it was sent a while ago and the
    queue is empty. While other tasks wait in the queue, one that is missing there is not noticed: it would wait too.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT b.id FROM apimgmt_build b"
            " WHERE b.finished_at IS NULL"
            " AND (b.queued_at IS NULL"
            "      OR (NOT %s AND b.queued_at < clock_timestamp() - make_interval(secs => %s)))"
            " AND NOT EXISTS (SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s"
            " AND l.objid = b.id AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
            " ORDER BY b.id",
            [are_tasks_waiting, TASK_GRACE_S, BUILD_LOCK_CLASS],
        )
        return [row[0] for row in cursor.fetchall()]


class _Run:
    """The state of one run: where it is in the stages, and the child process that touches the model's file."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.path = model_store.path_of(build.version.sha256)
        self.stages = waiting_stages()
        # From the first time it was taken up: waiting for a build worker is not the build's fault.
        begun_at = build.claimed_at or timezone.now()
        self.deadline = begun_at + timedelta(seconds=settings.ENVIRONMENT.build_timeout_s)
        self.resources = ExitStack()
        self.revision = 0

    @cached_property
    def spec(self) -> ModelSpec:
        return self.build.version.described()

    def run(self) -> None:
        """Run the stages in order and write down how the build ended."""
        Build.objects.filter(pk=self.build.pk).update(
            claimed_at=Coalesce("claimed_at", Value(timezone.now())), queued_at=None
        )
        stage = ""
        try:
            with self.resources:
                for stage, work in self._stages():
                    self._timed(stage, work)
            is_complete = transitions.complete(self.build.pk, SYSTEM)
            fault_point("build.complete")
            if is_complete:
                logger.info("build_succeeded api_id=%s build=%d", self.build.api_id, self.build.pk)
        except NoLongerWanted:
            logger.info("build_ended_early api_id=%s build=%d", self.build.api_id, self.build.pk)
        except (OperationalError, InterfaceError):
            raise  # the database is away: the build stays unfinished and is found again
        except StageFailed as failure:
            self._fail(stage, failure.reasons, failure.log_tail)
        except Exception:
            logger.exception("build_crashed api_id=%s build=%d stage=%s", self.build.api_id, self.build.pk, stage)
            self._fail(stage, [message("unexpected")], "")

    def _stages(self) -> list[tuple[str, Callable[[], list[Message]]]]:
        return [
            ("verify", self._verify),
            ("inspect", self._inspect),
            ("self-test", self._self_test),
            ("publish", self._publish),
            ("confirm", self._confirm),
        ]

    def _fail(self, stage: str, reasons: list[Message], log_tail: str) -> None:
        transitions.fail(self.build.pk, SYSTEM, stage=stage, reasons=reasons, log_tail=log_tail)
        logger.warning("build_failed api_id=%s build=%d stage=%s", self.build.api_id, self.build.pk, stage)

    def _timed(self, name: str, work: Callable[[], list[Message]]) -> None:
        """Run one stage; its state, time and detail are on the page while it runs and after."""
        self._write_stage(name, state="running")
        started = time.perf_counter()
        try:
            if timezone.now() > self.deadline:
                raise StageFailed(message("too_long"))
            detail = work()
            fault_point(f"build.{name}")
        except StageFailed:
            self._write_stage(name, state="failed", seconds=time.perf_counter() - started)
            raise
        self._write_stage(name, state="done", seconds=time.perf_counter() - started, detail=detail)

    def _write_stage(self, name: str, **fields: str | float | Sequence[Message]) -> None:
        """Save the stages. Raises NoLongerWanted when the build was ended meanwhile."""
        next(stage for stage in self.stages if stage["name"] == name).update(fields)
        if not Build.objects.filter(pk=self.build.pk, finished_at=None).update(stages=self.stages):
            raise NoLongerWanted

    def _remaining_s(self) -> float:
        return max(1.0, (self.deadline - timezone.now()).total_seconds())

    def _verify(self) -> list[Message]:
        version = self.build.version
        if version.meaning is not None and (older := older_worker_names()):
            raise StageFailed(message("workers_too_old", workers=", ".join(older)))
        try:
            model_store.verify(version.sha256)
        except model_store.FileDamaged as error:
            raise StageFailed(error.message) from None
        return [message("file_verified", digest=version.sha256[:4], size_bytes=version.size_bytes)]

    def _inspect(self) -> list[Message]:
        self.child = self.resources.enter_context(InspectionChild(timeout_s=self._remaining_s()))
        try:
            self.child.check(self.path, self.spec)
        except InspectionRefused as error:
            raise StageFailed(message("quoted", text=str(error)), log_tail=error.log_tail) from None
        columns = message("columns", columns=len(self.spec.columns))
        return [columns, message("classes", classes=len(self.spec.classes))] if self.spec.classes else [columns]

    def _self_test(self) -> list[Message]:
        try:
            result = self.child.self_test(self.path, self.spec)
        except SelfTestFailed as error:
            raise StageFailed(message("quoted", text=str(error)), log_tail=error.log_tail) from None
        finally:
            self.resources.close()
        return [message("row_time", micros=result.row_us)]

    def _publish(self) -> list[Message]:
        api = transitions.publish(self.build.pk, SYSTEM)
        if api is None:
            raise NoLongerWanted
        self.revision = api.revision
        return [message("revision", revision=api.revision)]

    def _confirm(self) -> list[Message]:
        seen = self._wait_for_gateways(settings.ENVIRONMENT.confirm_timeout_s)
        if self.build.kind == BuildKind.UPDATE:
            api = transitions.take_over(self.build.pk, SYSTEM)
            if api is None:
                raise NoLongerWanted
            self.revision = api.revision
            fault_point("build.take-over")
            # The new version is loaded everywhere and serves. Going back would only hurt callers, so a worker that
            # is silent now is waited for as long as the build may take; an administrator can dismiss it.
            seen = self._wait_for_gateways(self._remaining_s())
        confirm_receipts(self.build.api_id)
        return self._progress(seen)

    def _wait_for_gateways(self, patience_s: float) -> Confirmation:
        """Until every counting worker has applied the revision and loaded the version. Raises StageFailed.

        `patience_s` is for applying; loading may take as long as the build may.
        """
        started = time.monotonic()
        shown: list[Message] = []
        with LISTENER.waiter() as waiter:
            while True:
                seen = confirmation_of(self.revision, api_id=self.build.api_id, loaded_version_id=self.build.version_id)
                if seen.is_confirmed:
                    return seen
                reasons = self._hopeless(seen, time.monotonic() - started, patience_s)
                if reasons:
                    raise StageFailed(*reasons)
                if self._progress(seen) != shown:
                    shown = self._progress(seen)
                    self._write_stage("confirm", detail=shown)
                elif not Build.objects.filter(pk=self.build.pk, finished_at=None).exists():
                    raise NoLongerWanted
                waiter.pause(self._remaining_s())

    @staticmethod
    def _progress(seen: Confirmation) -> list[Message]:
        return [message("workers", confirmed=seen.confirmed, counted=seen.counted)]

    def _hopeless(self, seen: Confirmation, waited_s: float, patience_s: float) -> list[Message]:
        """Why waiting longer is no use; empty to go on."""
        if seen.load_errors:
            return seen.load_errors
        if not seen.counted:
            return [message("no_gateway")] if waited_s > NO_GATEWAY_GRACE_S else []
        if all(worker.is_loading for worker in seen.missing):
            patience_s = self._remaining_s()
        return [worker.message for worker in seen.missing] if waited_s > patience_s else []


def is_waiting_for_a_worker(build: Build) -> bool:
    """Whether a build asked for a while ago was taken up by no build worker yet; the page then says so."""
    return (
        build.finished_at is None
        and build.claimed_at is None
        and timezone.now() - build.requested_at > timedelta(seconds=3)
    )
