"""One loaded ONNX file: one input per column or one matrix; with or without ZipMap; text or integer labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from contract.model_spec import ModelSpec
from inference.engines.base import ModelLoadError
from inference.engines.onnx.ports import dtype_of, ordered_inputs, read_ports
from inference.engines.onnx.readers import Reader, reader_for
from inference.engines.onnx.readers_by_name import reader_by_name
from inference.engines.onnx.row_buffers import RowRuns
from inference.engines.onnx.runtime import SILENT, open_session, run_error
from inference.outputs import roles_for
from inference.signature import NotServable
from inference.table import TEXT, Array, Prediction, Table, split


class OnnxSession:
    """See `inference.engines.base.Session`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Raises `ModelLoadError`."""
        self._session = open_session(path)
        ports = ordered_inputs(read_ports(self._session.get_inputs()), spec)
        self.dtypes = tuple(dtype_of(port) for port in ports) * (len(spec.columns) if spec.input == "matrix" else 1)
        self._input_names = [port.name for port in ports]
        self._flat_inputs = [len(port.dims or ()) == 1 for port in ports]
        self._has_flat_inputs = any(self._flat_inputs)
        output_names, self._read = _reader(self._session, spec)
        # The wrapper's own `run` searches a list once per input and, in one case, prints: 1 µs and more each request.
        run, options = self._session._sess.run, ort.RunOptions()
        options.log_severity_level = SILENT
        self._run: Callable[[dict[str, Array]], list[Any]] = lambda feed: run(output_names, feed, options)
        self._takes_matrix = spec.input == "matrix"
        self._rows: RowRuns | None = None
        if len(set(self.dtypes)) == 1 and TEXT not in self.dtypes:
            self._rows = RowRuns(
                self._session,
                options,
                inputs=[(port.name, len(port.dims or ())) for port in ports],
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

    def _feed(self, table: Table) -> dict[str, Array]:
        columns: Sequence[Array] = table.columns
        if table.matrix is not None:
            if self._takes_matrix:
                return {self._input_names[0]: table.matrix}
            columns = split(table.matrix)
        if self._has_flat_inputs:
            columns = [
                column.reshape(-1) if is_flat else column
                for column, is_flat in zip(columns, self._flat_inputs, strict=True)
            ]
        return dict(zip(self._input_names, columns, strict=True))


def _reader(session: ort.InferenceSession, spec: ModelSpec) -> tuple[list[str], Reader]:
    """The outputs to ask for, and how to read them. Raises `ModelLoadError`."""
    outputs = read_ports(session.get_outputs())
    try:
        if spec.meaning is not None:
            return reader_for(outputs, spec.meaning)
        return reader_by_name(roles_for(outputs, spec), spec)
    except NotServable as refusal:
        raise ModelLoadError(str(refusal)) from None
