"""The gateway's side of the database: connections that may fail at any moment.

`gateway.db.statements` has what is sent.

No caller waits longer than `TIMEOUT_S`: for a place among the connections, the connection and the answer together.
Once somebody has waited that long, nobody is lent a connection until a probe was answered. Whatever goes wrong with a
connection, it is thrown away and the caller gets `DatabaseAway`; nothing here retries, because only the caller knows
whether a statement may be sent twice.
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
from gateway.db.breaker import CircuitBreaker

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


class DatabaseSilent(DatabaseAway):
    """It did not answer in time."""


class StatementRefused(DatabaseAway):
    """The database answers, but refuses a statement: the same again will be refused until somebody changes something.

    To most callers that is as good as away. Who keeps a statement to send it again must not let it hold others up.
    """


class ContentRefused(StatementRefused):
    """Refused for the values in it: a constraint, a number out of range. Other rows may be accepted."""


class NoInterface(Exception):
    """The database answers, but the view or a table is not there as this gateway knows it (a migration is due)."""


class Database:
    """Opens connections, and lends up to `size` of them at a time. `find_url` is asked each time: it may move."""

    def __init__(self, find_url: Callable[[], str], *, size: int = 4) -> None:
        self._find_url = find_url
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(size)
        self._breaker = CircuitBreaker(self._probe)

    @property
    def is_silent(self) -> bool:
        """Somebody has waited for it in vain, and it has answered nothing since: `lent` refuses at once."""
        return self._breaker.is_open

    async def connect(self) -> Connection:
        """A fresh connection in autocommit mode, the caller's own. Raises `DatabaseAway`."""
        try:
            url = self._find_url()
        except NotRunning as error:
            raise DatabaseAway(str(error)) from None
        with self._watched(), translated_errors():
            async with asyncio.timeout(TIMEOUT_S):
                return await psycopg.AsyncConnection.connect(url, autocommit=True, **_CONNECT_OPTIONS)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
        """A connection for one piece of work: `TIMEOUT_S` from the call to its end.

        Raises `DatabaseAway`, `NoInterface`.
        """
        ends_at = asyncio.get_running_loop().time() + TIMEOUT_S
        async with self._place(ends_at):
            connection = self._idle_connection() or await self.connect()
            try:
                with self._watched(), bounded(connection, ends_at):
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
        await self._breaker.reset()
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _place(self, ends_at: float) -> AsyncIterator[None]:
        """One of `size` places. Not while the database is silent, also for who began to wait before."""
        self._refuse_if_silent()
        try:
            async with asyncio.timeout_at(ends_at):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseAway("all connections are in use") from None
        try:
            self._refuse_if_silent()
            yield
        finally:
            self._places.release()

    def _refuse_if_silent(self) -> None:
        if self.is_silent:
            raise DatabaseAway("the database does not answer")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except DatabaseSilent:
            self._breaker.trip()
            raise

    async def _probe(self) -> bool:
        """Whether it is still silent. Anything it says is an answer, a refusal too."""
        try:
            connection = await self.connect()
            try:
                await execute(connection, "SELECT 1", None)
            finally:
                await connection.close()
        except DatabaseSilent:
            return True
        except (DatabaseAway, NoInterface):
            return False
        return False

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
def bounded(connection: Connection, ends_at: float | None = None) -> Iterator[None]:
    """Statements inside end within `TIMEOUT_S`, or at that time of the loop's clock, one way or the other.

    Raises `DatabaseAway`, `NoInterface`. The socket is hung up instead of cancelling the task: a cancelled driver asks
    the server to cancel the statement and waits for its answer, for ever if the server is frozen.
    """
    loop = asyncio.get_running_loop()
    guard = _HangUp(connection)
    timer = loop.call_at(loop.time() + TIMEOUT_S if ends_at is None else ends_at, guard)
    try:
        with translated_errors():
            yield
    except DatabaseAway as error:
        if guard.was_needed:
            raise DatabaseSilent("no answer in time") from error
        raise
    finally:
        timer.cancel()


class _HangUp:
    """Ends a connection from outside, when it is called."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.was_needed = False

    def __call__(self) -> None:
        if self._connection.closed:
            return
        self.was_needed = True
        with socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate, suppress(OSError):  # gone by itself
            duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def translated_errors() -> Iterator[None]:
    """A driver's errors as ours: away, silent, refused, or not the database that this gateway knows."""
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise _translated(error) from None


def _translated(error: Exception) -> Exception:
    text = _one_line(error)
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return NoInterface(text)
        case TimeoutError() | psycopg.errors.ConnectionTimeout():
            return DatabaseSilent(text)
        case psycopg.DataError() | psycopg.IntegrityError() | psycopg.errors.RaiseException():
            return ContentRefused(text)
        case psycopg.ProgrammingError(sqlstate=str()):  # a permission that is missing, above all
            return StatementRefused(text)
        case _:
            return DatabaseAway(text)


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
