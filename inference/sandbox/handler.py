"""What a child does with the requests it gets: one method for each type of request.

    class PredictionHandler(Handler):
        @handles(Load)
        def load(self, request: Load) -> Loaded: ...

The methods are called one after the other, in the order of the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, Union

import msgspec

from contract.problems import Problem
from inference.engines import import_libraries
from inference.engines.base import EngineError, ModelFailed
from inference.sandbox.channel import Channel
from inference.sandbox.protocol import Failed, Refused, Request, Response, RowCount, decision_decoder
from inference.signature import NotServable

R = TypeVar("R", bound=Response)
Method = Callable[[Any, Any], R]

_KIND = "handled_request"


class CalledOff(Exception):
    """The parent answered the request by itself."""


def handles(kind: type[Request[R]]) -> Callable[[Method[R]], Method[R]]:
    """Mark the method that handles requests of this type."""

    def mark(method: Method[R]) -> Method[R]:
        setattr(method, _KIND, kind)
        return method

    return mark


class Handler:
    """Base of a child's work. Its methods raise `Problem` for a fault of the request, and what is the model's fault."""

    _methods: ClassVar[dict[type, str]] = {}

    def __init_subclass__(cls) -> None:
        methods = {getattr(value, _KIND): name for name, value in vars(cls).items() if hasattr(value, _KIND)}
        cls._methods = cls._methods | methods

    @staticmethod
    def import_libraries() -> None:
        """Before the process gives up reading, and before anything is the model's fault."""
        import_libraries()

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._decoder = msgspec.msgpack.Decoder(Union[tuple(self._methods)])  # noqa: UP007  (not written out)

    def serve(self) -> None:
        """Answer requests until the parent is gone."""
        while payload := self.channel.receive():
            try:
                self.channel.send(self._respond(self._decoder.decode(payload)))
            except CalledOff:
                continue
            finally:
                self.channel.close_files()

    def _respond(self, request: Request[R]) -> R | Refused | Failed:
        """The method's response, or why there is none."""
        try:
            response: R = getattr(self, self._methods[type(request)])(request)
            return response
        except CalledOff:
            raise
        except Exception as error:  # noqa: BLE001  (what is nobody's fault but ours is raised again)
            return failure(error)

    def ask_for_approval(self, n_rows: int) -> None:
        """Tell the parent how many rows there are, and wait until it allows them. Raises `CalledOff`."""
        self.channel.send(RowCount(n_rows))
        payload = self.channel.receive()
        if not (payload and decision_decoder.decode(payload).is_allowed):
            raise CalledOff


def failure(error: Exception) -> Refused | Failed:
    """Why a request is not answered as it asks. What is no fault of the request or the model is raised again."""
    if isinstance(error, Problem):
        problem = error
        return Refused(problem.kind.code, problem.detail, problem.errors, problem.headers, problem.retry_after_s)
    if isinstance(error, ModelFailed):
        return Failed(str(error), error.is_out_of_memory, error.ruled_out)
    if isinstance(error, EngineError):
        return Failed(str(error), error.is_out_of_memory)
    if isinstance(error, NotServable):
        return Failed(str(error))
    if isinstance(error, MemoryError):
        return Failed("", is_memory=True)
    raise error
