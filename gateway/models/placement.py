"""Load a version, and decide where it runs: on the event loop, or in a process of its own (decision 0050)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import structlog

from contract.model_spec import ModelSpec
from inference import formats, row_cost
from inference.engines import engine_for
from inference.predictor import ModelFailed, ModelLoadError, Predictor
from inference.row_cost import RowCost
from inference.sandbox.prediction_messages import ModelRef

INLINE_WORK_S: Final = 0.001  # more than this would hold up the event loop, and with it all other APIs

# Measured: a session of a small model and the decoders compiled for it; a large one grows with its file.
_MODEL_BYTES: Final = 400_000
_BYTES_PER_FILE_BYTE: Final = 5
_PROCESS_BYTES: Final = 90_000_000

_log = structlog.get_logger("gateway.models.placement")


@dataclass(frozen=True)
class Placement:
    """What loading came to. Without a predictor: the obstacle for which the model needs a process of its own."""

    spec: ModelSpec
    size_bytes: int
    predictor: Predictor | None = None
    cost: RowCost = field(default_factory=lambda: RowCost(0.0))
    obstacle: str = ""


def place(ref: ModelRef, obstacle: str) -> Placement:
    """Load and warm up, but only what may run in this process. Raises `ModelLoadError`, `ModelFailed`.

    `obstacle`: what is known before against running it here.
    """
    try:
        return _place(ref, obstacle)
    except (ModelLoadError, ModelFailed):
        raise
    except FileNotFoundError:
        raise ModelLoadError("The model's file is not in the model store of this gateway.") from None
    except msgspec.DecodeError as error:
        raise ModelLoadError(f"The version's description can't be read: {error}.") from None
    except Exception as error:  # noqa: BLE001  (a library's own kinds of failure must not end the loading of others)
        _log.exception("model_load_crashed", version_id=ref.version_id)
        raise ModelLoadError(f"Loading the model failed unexpectedly ({type(error).__name__}).") from None


def _place(ref: ModelRef, obstacle: str) -> Placement:
    spec = msgspec.json.decode(ref.spec_json, type=ModelSpec)
    content = Path(ref.path).read_bytes()
    isolated = Placement(spec, _PROCESS_BYTES + _BYTES_PER_FILE_BYTE * len(content))
    obstacle = obstacle or engine_for(ref.format).obstacle_to_inline(content)
    if obstacle:
        return replace(isolated, obstacle=obstacle)
    predictor = Predictor(Path(ref.path), spec, ref.format)
    sample = formats.sample_table(predictor)
    cost = row_cost.of_a_row(predictor, sample)
    if cost.alone_s > INLINE_WORK_S:
        return replace(isolated, obstacle=f"one row takes {cost.alone_s * 1000:.1f} ms")
    cost = row_cost.of_joined_rows(predictor, sample, cost)
    formats.warm_up(predictor)
    return Placement(spec, _inline_bytes(len(content)), predictor, cost)


def expected_bytes(ref: ModelRef) -> int:
    """What a model will take in memory if it may run in this process."""
    path = Path(ref.path)
    return _inline_bytes(path.stat().st_size if path.exists() else 0)


def _inline_bytes(file_bytes: int) -> int:
    return _MODEL_BYTES + _BYTES_PER_FILE_BYTE * file_bytes
