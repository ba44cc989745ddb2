"""The quota accounts of all trials that one worker has served."""

from __future__ import annotations

import asyncio

from gateway.db.connection import Database
from gateway.usage.ledger import LedgerSet
from gateway.usage.trial_quota import TrialAccount


class TrialAccounts:
    """One for each trial as long as the process lives: it knows what its ledgers have reserved."""

    def __init__(self, database: Database, ledgers: LedgerSet) -> None:
        self._database = database
        self._ledgers = ledgers
        self._accounts: dict[str, TrialAccount] = {}

    def find(self, api_id: str, limit: int, used: int) -> TrialAccount:
        """The trial's account with this limit; made, with this use, if there is none."""
        account = self._accounts.get(api_id)
        if account is None:
            account = TrialAccount(api_id, limit, used, database=self._database, ledgers=self._ledgers)
            self._accounts[api_id] = account
        account.limit = limit
        return account

    def forget(self) -> None:
        """The database was restored: what it says of our reservations is not what we know of them."""
        self._accounts.clear()

    def flush(self) -> None:
        for account in self._accounts.values():
            account.flush()

    async def idle(self) -> None:
        """Until the present work of all accounts has ended."""
        await asyncio.gather(*(account.idle() for account in self._accounts.values()))
