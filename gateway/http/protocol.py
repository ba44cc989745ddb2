"""HTTP/1.1 as hostile clients speak it: one connection, its requests in their order, and what it may take.

One clock per worker looks over all connections twice a second, so that a request sets no timers. docs/gateway.md lists
the limits.
"""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.http.application import CLOSE, Pending, Response
from gateway.http.connections import ConnectionManager
from gateway.http.parser import Refused, RequestParser
from gateway.http.request_cycle import RequestCycle
from gateway.http.transport import LingeringTransport
from gateway.http.wire import STATUS_LINES, last_response


class GatewayProtocol(asyncio.Protocol):
    """One connection. `since` is when its present phase began: head, body, response, idle, or lingering."""

    transport: LingeringTransport
    parser: RequestParser
    peer = "unknown"

    def __init__(self, manager: ConnectionManager, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.since = manager.now
        self.cycle: RequestCycle | None = None
        """The last request that was parsed, until its response and its body are complete."""
        self.is_read_closed = False  # what still comes in is thrown away
        self._manager = manager
        self._limits = manager.limits
        self._batch = manager.batch
        self._application = manager.application
        self._pipeline: list[RequestCycle] = []  # those behind the one that is answered
        self._is_new = True  # it has sent no byte of a request yet
        self._is_parsing = False  # requests of the present read are started once it is parsed
        self._next: RequestCycle | None = None  # to be started then
        self._in_task: RequestCycle | None = None  # the request that went on in a task last
        self._is_lingering = False  # the last response is sent; the client may still send and read
        self._has_eof = False
        self._unread = 0  # bytes of the present response, at `since`

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = LingeringTransport(cast(asyncio.Transport, transport))  # what uvloop makes is no subclass
        self.parser = RequestParser(self, self._limits)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = str(address[0])
        has_room = self._manager.has_room()
        self._manager.connections.add(self)
        if not has_room:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._batch.run()
        self._manager.connections.discard(self)
        self.is_read_closed = True
        for cycle in (self._in_task, self.cycle):  # in a pipeline they differ
            if cycle is not None and not cycle.response_complete:
                cycle.disconnect()
        self.transport.resume_writing()
        # A connection is part of circles, and would stay in memory, with all it holds, until the collector comes.
        self.parser.close()
        self._pipeline.clear()
        self.cycle = self._in_task = self._next = None

    def pause_writing(self) -> None:
        self.transport.pause_writing()

    def resume_writing(self) -> None:
        self.transport.resume_writing()

    def eof_received(self) -> bool:
        """A client that has finished sending still reads the response to what it sent."""
        self._batch.run()
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body or self.parser.is_in_head:
            return False
        self._has_eof = True
        self.close_read()
        return True

    def abort(self) -> None:
        """Close without a word, whatever is still to be sent."""
        self.is_read_closed = True
        self.transport.abort()

    def shutdown(self) -> None:
        """Part of draining: a request whose first byte was read is still answered."""
        if self.parser.is_in_head or self._is_lingering:
            return
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:
            self.cycle.keep_alive = False

    def close_read(self) -> None:
        """The requests so far are the last ones."""
        self.is_read_closed = True
        self.parser.is_in_head = False
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _close(self) -> None:
        if self.is_read_closed or (self.cycle is not None and self.cycle.more_body):
            self._lingering_close()
        else:
            self.is_read_closed = True  # what was read meanwhile may still wait to be parsed
            self.transport.close()

    def _lingering_close(self) -> None:
        """Let the client read its last response; what it still sends is dropped."""
        self.is_read_closed = self._is_lingering = True
        self._begin_phase()
        if self._has_eof:
            self.transport.close()
        else:
            self.transport.linger()

    def _begin_phase(self) -> None:
        self.since = self._manager.now
        self.parser.restart_count()

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        self._batch.add_read(self, data, is_alone=len(self._manager.connections) == 1)

    def parse(self, data: bytes) -> None:
        """Read requests from what came in, and start the first of them that was not started."""
        if self.is_read_closed:
            self.parser.received += len(data)
            return
        self._is_parsing = True
        try:
            self.parser.feed(data)
        except Refused as refusal:
            self._refuse(refusal.code, refusal.detail)
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets a response and the log the trace)
            self._end_with(self._application.failure(error))
        self._start_next()

    def on_head_begin(self) -> None:
        self.since = self._manager.now
        self._is_new = False

    def on_request(self, cycle: RequestCycle) -> None:
        if len(self._pipeline) >= self._limits.pipelined:
            raise Refused("malformed_request")
        self.since = self._manager.now
        previous, self.cycle = self.cycle, cycle
        if previous is None or previous.response_complete:
            self._start(cycle)
        else:
            self.transport.pause_reading()
            self._pipeline.append(cycle)

    def on_request_end(self, cycle: RequestCycle) -> None:
        if cycle.response_complete:  # the rest of a refused body was read and dropped: the connection is free again
            self.cycle = None
            self.since = self._manager.now

    # --- refusing ---

    def _refuse(self, code: str, detail: str = "") -> None:
        self._end_with(self._application.refusal(code, detail))

    def _end_with(self, response: Response) -> None:
        """Answer for the gateway itself and close; responses that are under way come first and are then the last."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self.parser.is_in_head or self._pipeline or not cycle.more_body:
                self.close_read()
                return
            if cycle.response_started:
                self.abort()
                return
            cycle.disconnect()
        self.parser.is_in_head = False
        self.transport.write(last_response(response, self._manager.date_line))
        self._lingering_close()

    # --- answering ---

    def _start(self, cycle: RequestCycle) -> None:
        self._next = cycle
        if not self._is_parsing:  # the response to an earlier request lets it start
            self._start_next()

    def _start_next(self) -> None:
        """Start what was parsed. What has to wait goes on in a task, all other requests are completed in this turn."""
        self._is_parsing = False
        cycle, self._next = self._next, None
        if cycle is None:
            return
        if cycle.is_disconnected:  # something malformed in the same read was answered in its place
            cycle.response_complete = True
            return
        if not cycle.more_body:
            cycle.body = bytes(cycle.buffered)
        try:
            pending = self._application.start(cycle)
        except Exception as error:  # noqa: BLE001  (as in `parse`)
            self.fail(cycle, error)
            return
        if pending.is_waiting:
            self._run_in_task(cycle, pending)
        else:
            self._batch.add_started(self, cycle, pending)

    def _run_in_task(self, cycle: RequestCycle, pending: Pending) -> None:
        self._in_task = cycle
        task = self.loop.create_task(cycle.run(self._application, pending))
        self._manager.tasks.add(task)
        task.add_done_callback(self._manager.tasks.discard)

    def complete(self, cycle: RequestCycle, pending: Pending) -> None:
        """The turn of a request that did not have to wait has come."""
        try:
            if cycle.is_disconnected:  # something malformed came in the same turn and was answered in its place
                return
            if not self.write_response(cycle, self._application.complete(pending)):
                self._run_in_task(cycle, pending)
        except Exception as error:  # noqa: BLE001  (as in `parse`)
            self.fail(cycle, error)
        finally:
            self._application.release(pending)

    def fail(self, cycle: RequestCycle, error: Exception) -> None:
        """The fault is ours: 500, and no further request."""
        response = self._application.failure(error)
        if cycle.is_disconnected:
            return
        if cycle.response_started:
            self.abort()
            return
        cycle.response_started = cycle.response_complete = True
        self.cycle, self.parser.is_in_head = cycle, False
        self._pipeline.clear()
        self.transport.write(last_response(response, self._manager.date_line))
        self._lingering_close()

    def write_response(self, cycle: RequestCycle, response: Response) -> bool:
        """A whole one, in one go. False if the client must read earlier ones first."""
        transport = self.transport
        if transport.is_write_paused:
            return False
        if cycle.is_disconnected:
            return True
        status, lines, body = response
        if lines.endswith(CLOSE):
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines += CLOSE
        if cycle.method == "HEAD":
            body = b""
        cycle.response_started = cycle.response_complete = True
        transport.write(b"%b%b%b\r\n%b" % (STATUS_LINES[status], self._manager.date_line, lines, body))
        self.end_response(cycle)
        return True

    def write_head(self, cycle: RequestCycle, status: int, lines: bytes) -> None:
        if lines.endswith(CLOSE):
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines += CLOSE
        self.transport.write(b"%b%b%b\r\n" % (STATUS_LINES[status], self._manager.date_line, lines))

    def end_response(self, cycle: RequestCycle) -> None:
        """Close the connection, or let it go on with the next request. A request that is done with is let go."""
        if not cycle.keep_alive:
            self._close()
        self._in_task = None
        if cycle is self.cycle and not cycle.more_body:
            self.cycle = None
        if self._is_lingering or self.transport.is_closing():
            return
        if not self.parser.is_in_head:
            self._begin_phase()
        self.transport.resume_reading()
        if self._pipeline:
            self._start(self._pipeline.pop(0))
        elif self.is_read_closed or (self.cycle is not None and _is_chunked(cycle)):
            self._lingering_close()

    # --- the clock ---

    def check_timeouts(self, now: float) -> None:
        """Twice a second: has this connection taken too long over what it is doing?"""
        waited, cycle, limits = now - self.since, self.cycle, self._limits
        if self.transport.is_closing():
            if waited > limits.read_grace_s:
                self.transport.abort()
        elif self._is_lingering or (cycle is not None and cycle.response_complete):  # what comes in is dropped
            if waited > limits.drop_s or self.parser.received > limits.drop_bytes:
                self.abort()
        elif self.parser.is_in_head:
            if waited > limits.head_s:
                self._refuse("request_timeout", f"The headers were not complete after {limits.head_s:g} seconds.")
        elif cycle is None:
            if waited > (limits.first_byte_s if self._is_new else limits.keep_alive_s):
                self.abort()
        elif cycle.more_body and not cycle.response_started:
            self._check_body_rate(now, waited)
        else:
            self._check_reader(cycle, now, waited)

    def _check_body_rate(self, now: float, waited: float) -> None:
        rate = self._limits.body_bytes_per_s
        if self.transport.is_read_paused:
            self.since = now  # it waits for us
            self.parser.restart_count()
        elif waited > self._limits.body_grace_s and self.parser.received < waited * rate:
            self._refuse("request_timeout", f"The body came in at less than {rate} bytes a second.")

    def _check_reader(self, cycle: RequestCycle, now: float, waited: float) -> None:
        unwritten = self.transport.unwritten()
        unread = unwritten + cycle.unsent  # what the application has still to give included
        if unwritten == 0 or unread > self._unread:  # the client waits for us, or this is another response
            self.since, self._unread = now, unread
        elif waited > self._limits.read_grace_s:
            if self._unread - unread < waited * self._limits.read_bytes_per_s:  # the client hardly reads
                self.abort()
            self.since, self._unread = now, unread

    @property
    def rank(self) -> tuple[int, float] | None:
        """Who makes room first for a new connection. None: this one waits for the gateway, not for its client.

        First who has had the last response or does not get to the point, then the idle ones, then who has just begun.
        """
        if self._is_lingering:
            return 0, self.since
        if self.parser.is_in_head:
            return (0 if self._manager.now - self.since > self._limits.prompt_s else 2), self.since
        if self.cycle is None or self.cycle.response_complete:
            return 1, self.since
        return None


def _is_chunked(cycle: RequestCycle) -> bool:
    """Whether the rest of a refused body is unbounded: httptools would keep its trailers in memory."""
    return b"transfer-encoding" in cycle.headers
