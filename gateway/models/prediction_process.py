"""One request to a prediction child, in the gateway's own terms: HTTP replies, refusals, failures of the model."""

from __future__ import annotations

from contract.problems import Problem
from inference.engines import ModelFailed
from inference.formats import Reply
from inference.sandbox.async_child import AsyncChild
from inference.sandbox.child_process import ProcessNotStarted, WorkFailed
from inference.sandbox.confinement import Confinement
from inference.sandbox.prediction_messages import Replied


def start_process(confinement: Confinement) -> AsyncChild:
    """Raises `Problem("not_ready")` when no process can be started."""
    try:
        return AsyncChild("prediction", confinement)
    except ProcessNotStarted as error:
        raise not_ready(error) from None


def not_ready(error: ProcessNotStarted) -> Problem:
    """A lack of this machine, which is held against no model."""
    return Problem("not_ready", f"This gateway can't start a process now: {error}.")


def model_failed(failure: WorkFailed) -> ModelFailed:
    words = "The model needs more memory than it may have." if failure.is_memory else str(failure)
    return ModelFailed(words, ruled_out=failure.ruled_out)


def reply_in_memory(replied: Replied) -> Reply:
    body = replied.body or b""
    return Reply(body, replied.content_type, replied.headers, warned=replied.warned, endings=replied.endings)
