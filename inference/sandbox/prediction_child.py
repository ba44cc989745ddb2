"""A process that computes what must not run in a gateway worker, which starts it.

`python -m inference.sandbox.prediction_child`

Slow or unusual models have one of their own, large bodies share a few. It gives up the network, writing, reading
what it has no business with, and memory beyond its limit; it is killed when it takes too long, and ends with its
worker.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from contract.logs import set_up_logs
from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference import formats
from inference.engines import ModelFailed, ModelLoadError, import_libraries
from inference.predictor import Predictor
from inference.sandbox import limits
from inference.sandbox.prediction_messages import (
    LENGTH,
    Answer,
    Failed,
    Go,
    Load,
    Loaded,
    ModelRef,
    Predict,
    Question,
    Refused,
    Replied,
    Rows,
    decode_question,
    encode,
)

_MODELS_KEPT: Final = 4
_LONGEST_CPU_S: Final = 24 * 3600  # the worker's clock ends what takes too long; this is for a worker that can't

_log = structlog.get_logger("inference.sandbox.prediction_child")


def main() -> None:
    """Answer questions until the worker closes the socket."""
    options = argparse.ArgumentParser()
    for name in ("--socket", "--parent", "--memory", "--file-size", "--nice"):
        options.add_argument(name, type=int, required=True)
    options.add_argument("--readable", type=Path, required=True)
    given = options.parse_args()
    limits.die_with_parent()
    if os.getppid() != given.parent:
        return  # it died before we could say that we die with it
    os.nice(given.nice)
    import_libraries()  # before it may read no more than models
    if missing := _confine(given.readable):  # told before files are limited, because the log may be one
        set_up_logs(parent=given.parent)
        _log.warning("work_process_not_confined", missing=", ".join(missing))
    limits.limit_resources(memory_bytes=given.memory, cpu_s=_LONGEST_CPU_S, file_bytes=given.file_size)
    desk = Handler(Channel(socket.socket(fileno=given.socket)))
    while question := desk.line.receive():
        desk.answer(decode_question(question))


def _confine(readable: Path) -> list[str]:
    """Give up what can be given up. Returns what the kernel does not take from it."""
    may_read = (readable, *limits.OWN_CODE, Path(sys.prefix), Path(sys.base_prefix, "lib"))
    given_up = {
        "network": limits.leave_network(),
        "writing": limits.forbid_writing(),  # but to the file that a question brings along
        "reading": limits.forbid_reading(except_under=may_read),
    }
    return [name for name, is_given_up in given_up.items() if not is_given_up]


class _CalledOff(Exception):
    """The worker answered the request by itself."""


class Channel:
    """The socket, blocking. `files`: what came with the last question."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.files: list[int] = []

    def receive(self) -> bytes:
        """One payload; empty when the worker is gone."""
        head, files, _, _ = socket.recv_fds(self._channel, LENGTH.size, 2)
        self.files += files
        if not head:
            return b""
        head += self._exactly(LENGTH.size - len(head))
        return self._exactly(LENGTH.unpack(head)[0])

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._channel.recv(min(size - len(received), 1 << 20))
            if not part:
                raise SystemExit(0)
            received += part
        return bytes(received)

    def send(self, answer: Answer) -> None:
        payload = encode(answer)
        self._channel.sendall(LENGTH.pack(len(payload)) + payload)

    def close_files(self) -> None:
        while self.files:
            os.close(self.files.pop())


class Handler:
    """Answers one question after the other, with the models it has loaded so far."""

    def __init__(self, line: Channel) -> None:
        self.line = line
        self._models: OrderedDict[ModelRef, Predictor] = OrderedDict()

    def answer(self, question: Question) -> None:
        try:
            if isinstance(question, Load):
                self._send(lambda: self._load(question))
            elif isinstance(question, Predict):
                self._send(lambda: self._predict(question))
        except _CalledOff:
            return
        finally:
            self.line.close_files()

    def _send(self, work: Callable[[], Answer]) -> None:
        """What it came to, or why not."""
        try:
            answer = work()
        except Problem as problem:
            answer = Refused(problem.kind.code, problem.detail, problem.errors, problem.headers, problem.retry_after_s)
        except (ModelFailed, ModelLoadError) as error:
            answer = Failed(str(error), error.is_out_of_memory)
        except MemoryError:
            answer = Failed("", is_memory=True)
        self.line.send(answer)

    def _load(self, ask: Load) -> Answer:
        self._predictor(ask.model)
        return Loaded()

    def _predict(self, ask: Predict) -> Answer:
        predictor = self._predictor(ask.model)
        dialect = formats.choose(ask.path, ask.headers)
        body = ask.body if ask.body is not None else self._spooled_body()
        if encoding := ask.headers.get(b"content-encoding"):
            body = formats.inflated(body, encoding, ask.max_body_bytes)
        decoded = dialect.decode(body, predictor)
        if ask.asks:
            self.line.send(Rows(decoded.table.n_rows))
            go = decode_question(self.line.receive())
            if not (isinstance(go, Go) and go.is_allowed):
                raise _CalledOff
        reply = dialect.encode(predictor.predict(decoded.table), decoded, predictor, ask.number)
        if ask.body is not None:
            return Replied(reply.content_type, reply.headers, reply.body, len(reply.body))
        try:
            self._write(reply.body)
        except OSError as error:
            return _unwritten(error)
        return Replied(reply.content_type, reply.headers, None, len(reply.body))

    def _spooled_body(self) -> bytes:
        with mmap.mmap(self.line.files[0], 0, access=mmap.ACCESS_READ) as body:
            return body[:]

    def _write(self, body: bytes) -> None:
        left = memoryview(body)
        while left:
            left = left[os.write(self.line.files[1], left) :]

    def _predictor(self, model: ModelRef) -> Predictor:
        """Loaded, and warmed up with its sample row."""
        found = self._models.get(model)
        if found is None:
            while len(self._models) >= _MODELS_KEPT:
                self._models.popitem(last=False)
            try:
                spec = msgspec.json.decode(model.spec_json, type=ModelSpec)
            except msgspec.DecodeError as error:
                raise ModelLoadError(f"The version's description can't be read: {error}.") from None
            found = Predictor(Path(model.path), spec, model.format)
            formats.warm_up(found)
            self._models[model] = found
        self._models.move_to_end(model)
        return found


def _unwritten(error: OSError) -> Answer:
    """Why an answer could not be written: no fault of the model's."""
    if error.errno == errno.EFBIG:
        return Failed("The answer is longer than this gateway sends. Send fewer rows at once.")
    return Refused("not_ready", "This gateway has no room on its disk for the answer.", (), (), None)


if __name__ == "__main__":
    main()
