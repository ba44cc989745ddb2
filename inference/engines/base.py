"""What an engine is, in types, and how it says that something went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from contract.incidents import AnswerReason
from contract.model_spec import ModelSpec
from inference.signature import Signature
from inference.table import Prediction, Table, Type


class EngineError(Exception):
    """`str()` is one plain sentence. `is_out_of_memory`: the engine could not get the memory it asked for."""

    def __init__(self, message: str, *, is_out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.is_out_of_memory = is_out_of_memory


class ModelLoadError(EngineError):
    """The file can't be served as it is described."""


class ModelFailed(EngineError):
    """The model could not compute this prediction.

    `ruled_out`: it did, but how the answer is one that its description rules out. That is an incident, because the
    version means something else than what was checked when it was registered.
    """

    def __init__(self, message: str, *, is_out_of_memory: bool = False, ruled_out: AnswerReason | None = None) -> None:
        super().__init__(message, is_out_of_memory=is_out_of_memory)
        self.ruled_out = ruled_out


class Session(Protocol):
    """A loaded model. `dtypes`: the array type it takes each column in, in the order of `spec.columns`."""

    dtypes: tuple[Type, ...]

    def predict(self, table: Table) -> Prediction:
        """Blocking and safe to call from several threads. Raises `ModelFailed`."""


class RawSession(Protocol):
    """A loaded model of which nobody has said yet what its outputs mean. `dtypes`: as in `Session`."""

    dtypes: tuple[Type, ...]

    def outputs(self, table: Table) -> dict[str, Any]:
        """What came of every output, by its name, in the file's order. Raises `ModelFailed`."""


class Engine(Protocol):
    """Runs model files of one format. Importing it is cheap: large libraries are imported when they are first used."""

    @property
    def format(self) -> str:
        """Its name in the database and in routes."""

    @property
    def platform(self) -> str:
        """Its name in the metadata of the Open Inference Protocol."""

    def import_libraries(self, *, for_reading: bool = False) -> None:
        """Import now what loading needs, and `for_reading` what `read_signature` needs: before a process gives up its
        rights, or takes its first request."""

    def read_signature(self, path: Path) -> Signature:
        """Everything the file tells. For the confined child only: the bytes are a stranger's.

        Raises `NotServable`, `ModelLoadError`.
        """

    def obstacle_to_inline(self, content: bytes) -> str:
        """Why the model must have a process of its own, in words; "" if it may run inside a gateway worker.

        Runs inside the worker: reads the bytes without running or loading any of them.
        """

    def load(self, path: Path, spec: ModelSpec) -> Session:
        """Raises `ModelLoadError`."""

    def load_raw(self, path: Path, spec: ModelSpec) -> RawSession:
        """To find out what it means: of `spec`, only columns and layout count. Raises `ModelLoadError`."""
