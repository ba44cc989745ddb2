"""The gateway's side of the database: connections that may fail at any moment.

`gateway.db.statements` has what is sent.

No caller waits longer than `TIMEOUT_S` for an answer. Whatever goes wrong with a connection, it is thrown away and
the caller gets `DatabaseAway`; nothing here retries, because only the caller knows whether a statement may be sent
twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from contract.connections import NotRunning

Connection = psycopg.AsyncConnection[TupleRow]

TIMEOUT_S = 5.0
CHANNEL = "gateway_route"

_CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "gateway",
    # A database host that vanished without a word must not hold a statement for the kernel's 15 minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
    "options": "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=10000 -c timezone=UTC",
}


class DatabaseAway(Exception):
    """The database did not answer, refused, or took too long. What was sent may or may not have been carried out."""


class StatementRefused(DatabaseAway):
    """The database answers, but refuses a statement for what is in it: the same again will be refused again.

    To most callers that is as good as away. Who keeps a statement to send it again must not keep this one.
    """


class NoInterface(Exception):
    """The database answers, but the view or a table is not there as this gateway knows it (a migration is due)."""


class Database:
    """Opens connections, and lends up to `size` of them at a time. `find_url` is asked each time: it may move."""

    def __init__(self, find_url: Callable[[], str], *, size: int = 4) -> None:
        self._find_url = find_url
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(size)

    async def connect(self) -> Connection:
        """A fresh connection in autocommit mode, the caller's own. Raises `DatabaseAway`."""
        try:
            url = self._find_url()
        except NotRunning as error:
            raise DatabaseAway(str(error)) from None
        with translated_errors():
            async with asyncio.timeout(TIMEOUT_S):
                return await psycopg.AsyncConnection.connect(url, autocommit=True, **_CONNECT_OPTIONS)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
        """A connection for one piece of work of at most `TIMEOUT_S`. Raises `DatabaseAway`, `NoInterface`."""
        async with self._room:
            connection = self._idle_connection() or await self.connect()
            try:
                with bounded(connection):
                    yield connection
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Like `lent`, as one transaction."""
        async with self.lent() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def _idle_connection(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _was_hung_up(connection):
                return connection
        return None


def _was_hung_up(connection: Connection) -> bool:
    """Whether the server closed its end while the connection lay idle (a restart): found without a round trip."""
    try:
        connection.pgconn.consume_input()
    except psycopg.Error:
        return True
    return connection.pgconn.status != psycopg.pq.ConnStatus.OK


@contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Statements inside end within `TIMEOUT_S`, one way or the other. Raises `DatabaseAway`, `NoInterface`.

    The socket is hung up instead of cancelling the task: a cancelled driver asks the server to cancel the statement
    and waits for its answer, for ever if the server is frozen.
    """
    timer = asyncio.get_running_loop().call_later(TIMEOUT_S, _hang_up, connection)
    try:
        with translated_errors():
            yield
    finally:
        timer.cancel()


def _hang_up(connection: Connection) -> None:
    if connection.closed:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate, suppress(OSError):  # gone by itself meanwhile
        duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def translated_errors() -> Iterator[None]:
    """A driver's errors as ours: the database is away, or it is not the one this gateway knows."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise NoInterface(_one_line(error)) from None
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StatementRefused(_one_line(error)) from None
    except (psycopg.Error, OSError) as error:
        raise DatabaseAway(_one_line(error)) from None


def storable(text: str) -> str:
    """A library's message as PostgreSQL can keep it: a damaged file may be quoted with bytes that are no text."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def fetch_all(connection: Connection, statement: LiteralString, values: Any) -> list[TupleRow]:
    with bounded(connection):
        return await (await connection.execute(statement, values)).fetchall()


async def execute(connection: Connection, statement: LiteralString, values: Any) -> None:
    with bounded(connection):
        await connection.execute(statement, values)
