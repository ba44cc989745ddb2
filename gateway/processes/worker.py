"""One gateway worker: its parts, and how they are put together. `worker_main` gives it a process and a life."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from contract.client_address import ClientAddresses
from contract.connections import database_url
from contract.settings import Settings
from gateway.db.connection import Database
from gateway.db.identity import WorkerIdentity
from gateway.db.refusals import Refusals
from gateway.db.statements.workers import Obstacle
from gateway.http.limits import connection_limits
from gateway.http.server import GatewayServer
from gateway.models.batch import BatchPool, Limits
from gateway.models.incidents import IncidentLog
from gateway.models.loader import ModelLoader
from gateway.models.process_places import ProcessPlaces
from gateway.models.runner import Runner
from gateway.processes.bookkeeping import Bookkeeping
from gateway.processes.channel import EXIT_CRASHED, EXIT_MISCONFIGURED, EXIT_OK
from gateway.request.app import Gateway
from gateway.routing.follower import Follower, WorkerGone, WrongTimeZone
from gateway.routing.routes import RouteTable
from gateway.routing.serving_lease import ServingLease
from gateway.usage.input_warnings import InputWarnings
from gateway.usage.ledger import LedgerSet
from gateway.usage.recovery import recover_orphans
from gateway.usage.trial_accounts import TrialAccounts

_log = structlog.get_logger("gateway.processes.worker")


class Worker:
    """All parts of one process. `stopping` is set when it is to end, then with `exit_code`."""

    def __init__(self, settings: Settings, identity: WorkerIdentity) -> None:
        """Make the ledger first: whoever has a row in the database must have a lock that proves its end.

        Raises OSError when it can't be made.
        """
        self.identity = identity
        self.stopping = asyncio.Event()
        self.exit_code = EXIT_OK
        self.ledgers = LedgerSet(settings.ledger_dir, identity.id, ZoneInfo(settings.time_zone))
        self.database = Database(lambda: database_url(settings))
        self.trials = TrialAccounts(self.database, self.ledgers)
        self.incidents = IncidentLog(identity.id)
        self.input_warnings = InputWarnings(ZoneInfo(settings.time_zone))
        self.limits = Limits(max_body_bytes=settings.max_body_bytes, trial_max_rows=settings.trial_max_rows)
        self.table = RouteTable(self.trials.find, self._on_restored)
        self.lease = ServingLease(settings.gateway_lease_s, on_asleep=self._on_asleep)
        self.loader = self._make_loader(settings)
        self.runner = self._make_runner(settings)
        self.follower = self._make_follower(settings)
        self.bookkeeping = self._make_bookkeeping()
        self.app = self._make_app(settings)
        self.server = GatewayServer(self.app, connection_limits(settings.max_body_bytes))

    def stop(self, exit_code: int = EXIT_OK) -> None:
        self.exit_code = exit_code
        self.stopping.set()

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the requests, for as long as the worker lives."""
        return [self.lease.keep_ticking(), self.follower.listen(), self._follow(), self.bookkeeping.run()]

    async def _follow(self) -> None:
        try:
            await self.follower.follow()
        except WorkerGone:
            self.lease.lose_step()
            _log.warning("worker_dismissed")
            self.stop()
        except WrongTimeZone as error:
            _log.error("wrong_time_zone", reason=str(error))
            self.stop(EXIT_MISCONFIGURED)
        except Exception:  # noqa: BLE001  (whatever it was: without this task nothing is obeyed, so the process ends)
            self.lease.lose_step()
            _log.exception("follower_crashed")
            self.stop(EXIT_CRASHED)

    def _on_restored(self) -> None:
        """The database was restored: what it says of our ledgers and their reservations is not what we know of them."""
        _log.warning("database_restored")
        self.trials.forget()
        self.ledgers.rotate()

    def _on_asleep(self) -> None:
        _log.warning("out_of_step")
        self._wake_follower()

    def _wake_follower(self) -> None:
        self.follower.wake()

    def _find_obstacle(self) -> Obstacle | None:
        return self.bookkeeping.obstacle

    # --- the larger parts ---

    def _make_loader(self, settings: Settings) -> ModelLoader:
        return ModelLoader(
            settings.model_store_dir,
            self._wake_follower,
            self.incidents,
            memory_bytes=settings.model_memory_mb * 1_000_000,
            places=ProcessPlaces(settings.var_dir / "run", os.cpu_count() or 1),
            loading=self.ledgers.loading,
        )

    def _make_runner(self, settings: Settings) -> Runner:
        return Runner(
            BatchPool(
                spool_dir=settings.var_dir / "spool",
                store_dir=settings.model_store_dir,
                run_dir=settings.var_dir / "run",
                incidents=self.incidents,
                limits=self.limits,
            )
        )

    def _make_follower(self, settings: Settings) -> Follower:
        return Follower(
            self.identity,
            database=self.database,
            table=self.table,
            loader=self.loader,
            lease=self.lease,
            lease_s=settings.gateway_lease_s,
            time_zone=settings.time_zone,
            first_ledger=self.ledgers.first_name,
            find_obstacle=self._find_obstacle,
        )

    def _make_bookkeeping(self) -> Bookkeeping:
        refusals: Refusals[str] = Refusals()

        async def write_counts() -> None:
            await self.ledgers.write_out(self.database)

        async def recover() -> None:
            await recover_orphans(self.ledgers.directory, self.ledgers.names, self.database, refusals)
            refusals.raise_first()

        async def write_incidents() -> None:
            await self.incidents.flush(self.database)

        async def tend() -> None:
            self.trials.flush()
            self.loader.tend()
            self.runner.tend()
            await self.input_warnings.write_out(self.database)

        steps = {"counts": write_counts, "recovery": recover, "incidents": write_incidents, "other": tend}
        return Bookkeeping(steps, self._wake_follower)

    def _make_app(self, settings: Settings) -> Gateway:
        return Gateway(
            table=self.table,
            ledgers=self.ledgers,
            lease=self.lease,
            runner=self.runner,
            addresses=ClientAddresses(settings.trusted_proxies),
            limits=self.limits,
            base_url=settings.gateway_url,
            types_url=f"{settings.console_url}/docs/inference-api/",
            input_warnings=self.input_warnings,
        )
