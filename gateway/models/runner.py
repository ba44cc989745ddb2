"""Requests that must not be computed on the event loop.

A small body goes to its model's own process, a large one to the machine's batch processes.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.models.batch import BatchPool
from gateway.models.loaded_model import LoadedModel
from gateway.models.spool import Spool
from inference.engines import ModelFailed
from inference.formats import Reply
from inference.sandbox.async_child import Approve
from inference.sandbox.prediction_messages import Predict

# A process that runs a stranger's model must not see what opens the API.
_SECRETS = frozenset({b"x-api-key", b"authorization", b"cookie"})


class Runner:
    """One worker's. `batch` also keeps the places for large bodies."""

    def __init__(self, batch: BatchPool) -> None:
        self.batch = batch

    async def predict(
        self,
        model: LoadedModel,
        body: bytes | Spool,
        *,
        path: str,
        headers: Mapping[bytes, bytes],
        csv_default: str = "",
        approve: Approve | None = None,
    ) -> Reply:
        """Decode, predict and encode elsewhere. Raises `Problem` and `ModelFailed`.

        `approve` is told the number of rows before the model computes.
        """
        request = Predict(
            model=model.ref,
            path=path,
            headers={name: value for name, value in headers.items() if name not in _SECRETS},
            number=str(model.version.number),
            body=body if isinstance(body, bytes) else None,
            needs_approval=approve is not None,
            max_body_bytes=self.batch.limits.max_body_bytes,
            csv_default=csv_default,
        )
        if isinstance(body, Spool):
            return await self.batch.predict(model.api_id, request, body, approve)
        return await model.process.predict(request, approve)

    def note_failure(self, model: LoadedModel, failure: ModelFailed) -> None:
        """An answer that the description rules out is an incident, wherever it was computed."""
        if failure.ruled_out is not None:
            self.batch.incidents.note(model.api_id, model.version.version_id, "wrong_answer", failure.ruled_out)

    def tend(self) -> None:
        """To be called every second."""
        self.batch.tend()

    def close(self) -> None:
        """End idle processes; those at work end with this one."""
        self.batch.close()
