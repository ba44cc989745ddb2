"""One loaded ONNX file: one input per column or one matrix; with or without ZipMap; text or integer labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from contract.model_spec import ModelSpec
from inference.engines.base import ModelLoadError
from inference.engines.onnx.feed import Feed
from inference.engines.onnx.ports import read_ports
from inference.engines.onnx.readers import Reader, reader_for
from inference.engines.onnx.readers_by_name import reader_by_name
from inference.engines.onnx.row_buffers import RowRuns
from inference.engines.onnx.runtime import open_session, run_error
from inference.outputs import roles_for
from inference.signature import NotServable
from inference.table import TEXT, Array, Prediction, Table


class OnnxSession:
    """See `inference.engines.base.Session`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Raises `ModelLoadError`."""
        self._session = open_session(path)
        feed = Feed(self._session, spec)
        self._feed, self.dtypes = feed.of, feed.dtypes
        output_names, self._read = _reader(self._session, spec)
        run = self._session.run
        self._run: Callable[[dict[str, Array]], list[Any]] = lambda feed: run(output_names, feed)
        self._rows: RowRuns | None = None
        if len(set(self.dtypes)) == 1 and TEXT not in self.dtypes:
            self._rows = RowRuns(
                self._session,
                inputs=[(port.name, len(port.dims or ())) for port in feed.ports],
                output_names=output_names,
                width=len(spec.columns),
                dtype=self.dtypes[0],
            )

    def predict(self, table: Table) -> Prediction:
        """Raises `ModelFailed`; blocking, thread-safe, the GIL is free while the model computes."""
        rows, row = self._rows, table.row
        if rows is None or row is None:
            return self._read(self._outputs(table), table.n_rows)
        outputs = rows.run(row)
        if outputs is None:
            outputs = self._outputs(table)
            rows.learn(outputs)
        return self._read(outputs, 1)

    def _outputs(self, table: Table) -> list[Any]:
        try:
            return self._run(self._feed(table))
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's exceptions have no other common parent
            raise run_error(error) from None


class OnnxRawSession:
    """See `inference.engines.base.RawSession`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Raises `ModelLoadError`."""
        self._session = open_session(path)
        self._feed = Feed(self._session, spec)
        self.dtypes = self._feed.dtypes
        self._names = [port.name for port in self._session.get_outputs()]

    def outputs(self, table: Table) -> dict[str, Any]:
        try:
            came = self._session.run(self._names, self._feed.of(table))
        except Exception as error:  # noqa: BLE001  # as above
            raise run_error(error) from None
        return dict(zip(self._names, came, strict=True))


def _reader(session: ort.InferenceSession, spec: ModelSpec) -> tuple[list[str], Reader]:
    """The outputs to ask for, and how to read them. Raises `ModelLoadError`."""
    outputs = read_ports(session.get_outputs())
    try:
        if spec.meaning is not None:
            return reader_for(outputs, spec.meaning)
        return reader_by_name(roles_for(outputs, spec), spec)
    except NotServable as refusal:
        raise ModelLoadError(str(refusal)) from None
