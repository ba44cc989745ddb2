"""The sample row through a loaded model: proves that it fits, and prepares what every format needs for the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from contract.model_spec import Cell
from contract.problems import Problem
from inference.formats.json_parser import JsonParser
from inference.formats.registry import CODECS
from inference.predictor import ModelLoadError, Predictor
from inference.table import Prediction, Table


def warm_up(predictor: Predictor) -> Prediction:
    """Predict the sample row through every format, so that no caller pays for what happens only once.

    Returns what the model says of its sample. Raises `ModelFailed`; `ModelLoadError` if the sample doesn't fit.
    """
    prediction = predictor.predict(sample_table(predictor))
    for codec in CODECS:
        codec.warm_up(predictor, prediction)
    return prediction


def sample_table(predictor: Predictor) -> Table:
    """The sample row. Raises `ModelLoadError` if it doesn't fit the columns."""
    try:
        return table_from_rows(predictor, [predictor.spec.sample])
    except Problem as problem:
        raise ModelLoadError(f"The sample row does not fit the columns: {_first_fault(problem)}") from None


def table_from_rows(predictor: Predictor, rows: Sequence[Mapping[str, Cell]]) -> Table:
    """Checked like rows of a request. Raises `Problem("invalid_rows")`."""
    return predictor.prepared(JsonParser).table(msgspec.json.encode({"rows": rows}))


def _first_fault(problem: Problem) -> str:
    if not problem.errors:
        return problem.detail
    fault = problem.errors[0]
    return f"{fault.column}: expected {fault.expected}, received {fault.received}."
