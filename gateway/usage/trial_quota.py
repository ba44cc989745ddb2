"""Trial quota: reserved in the database before the model runs, kept by a 200, given back by anything else.

Each worker has one account per trial, and one task at a time that speaks for it. Callers that come while it waits for
the database are served together by its next transaction, so 64 parallel calls cost a few transactions, not 64.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from contract.fault_points import fault_point
from contract.problems import Problem
from gateway.db.connection import Database, DatabaseAway, NoInterface, StatementRefused
from gateway.db.statements.ledgers import LedgerClosed
from gateway.db.statements.quota import QuotaUse, answered_requests, update_quota
from gateway.usage.ledger import LedgerSet
from gateway.usage.ledger_file import LedgerFile

# How long a caller waits at most, whatever the database does: with the rest of its request it is answered within 5 s.
ANSWER_S: Final = 4.0
# How long a caller waits for somebody else's reservation to be given back, and how often the account looks.
WAIT_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.05

_log = structlog.get_logger("gateway.usage.trial_quota")


@dataclass
class _LedgerUse:
    """What one ledger reserved and gave back: absolute totals that only rise. `returned` runs ahead of the database."""

    ledger: LedgerFile
    reserved: int = 0
    returned: int = 0
    returned_written: int = 0

    @property
    def is_behind(self) -> bool:
        return self.returned > self.returned_written


class Reservation:
    """One request of a trial, taken from its quota. Exactly one of `keep` and `give_back` counts, the first called."""

    __slots__ = ("_account", "_is_open", "_use", "remaining")

    def __init__(self, account: TrialAccount, use: _LedgerUse, remaining: int) -> None:
        self._account = account
        self._use = use
        self._is_open = True
        self.remaining = remaining

    def keep(self) -> None:
        """The 200 was counted in the ledger that reserved it."""
        self._is_open = False

    def give_back(self) -> None:
        """The request was not answered with 200."""
        if self._is_open:
            self._is_open = False
            self._use.returned += 1
            self._account.flush()


@dataclass
class _Waiter:
    ledger: LedgerFile
    deadline: float
    future: asyncio.Future[Reservation] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def refuse(self, problem: Problem) -> None:
        if not self.future.done():
            self.future.set_exception(problem)


class TrialAccount:
    """The quota of one trial, as one worker sees it. `remaining` is the last known figure, reservations taken off."""

    def __init__(self, api_id: str, limit: int, used: int, *, database: Database, ledgers: LedgerSet) -> None:
        self.api_id = api_id
        self.limit = limit
        self.remaining = max(0, limit - used)
        self._database = database
        self._ledgers = ledgers
        self._exhausted_limit = -1
        self._waiting: deque[_Waiter] = deque()
        self._uses: dict[str, _LedgerUse] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_exhausted(self) -> bool:
        """Finally used up: that many requests were answered. Costs the database nothing; a raised limit ends it."""
        return self.limit <= self._exhausted_limit

    async def reserve(self, ledger: LedgerFile) -> Reservation:
        """Take one request off the quota. Raises `Problem`: quota_exhausted or quota_unavailable.

        The 200 must be counted in the same ledger: what is given back when it is closed is computed from it.
        """
        if self._database.is_silent:
            raise Problem("quota_unavailable")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(ledger, loop.time() + WAIT_S)
        timer = loop.call_later(ANSWER_S, waiter.refuse, Problem("quota_unavailable"))
        self._waiting.append(waiter)
        self.flush()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                waiter.future.result().give_back()
            raise
        finally:
            timer.cancel()

    def flush(self) -> None:
        """Start the work if there is any. Also called every second, for what failed before."""
        if (
            self._task is None
            and not self._database.is_silent
            and (self._waiting or any(use.is_behind for use in self._uses.values()))
        ):
            self._task = asyncio.create_task(self._work())

    async def idle(self) -> None:
        """Wait for the present round of work to end."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while await self._round():
                pass
        except (DatabaseAway, NoInterface) as error:
            self._refuse_all(Problem("quota_unavailable"))
            _log.warning("quota_unavailable", api_id=self.api_id, error=str(error))
        except Exception:  # noqa: BLE001  (whatever it was, nobody may be left waiting)
            self._refuse_all(Problem("internal_error"))
            _log.exception("quota_failed", api_id=self.api_id)
        finally:
            self._task = None

    async def _round(self) -> bool:
        """One transaction for one ledger; false when there is nothing left to do."""
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        ledger = self._next_ledger()
        if ledger is None:
            return False
        use = self._uses.setdefault(ledger.name, _LedgerUse(ledger))
        callers = [waiter for waiter in self._waiting if waiter.ledger is ledger and not waiter.future.done()]
        try:
            quota = await self._update(use, len(callers))
        except LedgerClosed:
            # Whoever closed it has refunded what it held. Only callers of a ledger taken from us are left waiting.
            self._uses.pop(ledger.name, None)
            self._refuse(callers, Problem("quota_unavailable"))
            return True
        if quota is None:
            self._refuse(callers, Problem("quota_unavailable", "This trial has no quota."))
            use.returned_written = use.returned
            return True
        self._grant(use, callers, quota)
        if quota.granted < len(callers):
            await self._wait_or_refuse()
        return True

    def _next_ledger(self) -> LedgerFile | None:
        if self._waiting:
            return self._waiting[0].ledger
        return next((use.ledger for use in self._uses.values() if use.is_behind), None)

    async def _update(self, use: _LedgerUse, wanted: int) -> QuotaUse | None:
        returned = use.returned
        async with self._database.transaction() as connection:
            quota = await update_quota(
                connection,
                self.api_id,
                ledger=use.ledger.name,
                worker_id=self._ledgers.worker_id,
                known_reserved=use.reserved,
                returned=returned,
                wanted=wanted,
            )
            fault_point("quota.sent")
        fault_point("quota.committed")
        if quota is not None:
            use.reserved = quota.reserved
            use.returned += quota.returned - returned  # reservations whose commit was never heard of
            use.returned_written = quota.returned
            self.remaining = max(0, quota.limit - quota.used)
        return quota

    def _grant(self, use: _LedgerUse, callers: list[_Waiter], quota: QuotaUse) -> None:
        remaining = self.remaining + quota.granted
        for waiter in callers[: quota.granted]:
            remaining -= 1
            reservation = Reservation(self, use, remaining)
            if waiter.future.done():  # its caller was cancelled meanwhile, or has waited too long
                reservation.give_back()
            else:
                waiter.future.set_result(reservation)

    async def _wait_or_refuse(self) -> None:
        """The quota is taken: for good, or by requests in flight, of which some may be given back."""
        limit = self.limit
        with suppress(StatementRefused):  # of another API, most likely; the worker reports it
            await self._ledgers.write_out(self._database)
        async with self._database.lent() as connection:
            answered = await answered_requests(connection, self.api_id)
        if answered >= limit:
            self._exhausted_limit = limit
            self._refuse_all(Problem("quota_exhausted", f"This trial has used all of its {limit} requests."))
            return
        now = asyncio.get_running_loop().time()
        late = [waiter for waiter in self._waiting if waiter.deadline <= now]
        taken = "The rest of this trial's quota is reserved by requests in progress."
        self._refuse(late, Problem("quota_exhausted", taken, retry_after_s=1))
        await asyncio.sleep(LOOK_AGAIN_S)

    def _refuse_all(self, problem: Problem) -> None:
        self._refuse(list(self._waiting), problem)

    def _refuse(self, waiters: list[_Waiter], problem: Problem) -> None:
        for waiter in waiters:
            # A copy each: an exception that is raised in several tasks would collect all their tracebacks.
            waiter.refuse(Problem(problem.kind.code, problem.detail, retry_after_s=problem.retry_after_s))
