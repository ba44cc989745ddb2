"""A table's arrays as the inputs that a graph takes."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from contract.model_spec import ModelSpec
from inference.engines.onnx.ports import dtype_of, ordered_inputs, read_ports
from inference.signature import Port
from inference.table import Array, Table, Type, split


class Feed:
    """`dtypes`: the array type of each column, in the order of `spec.columns`. Raises `ModelLoadError`."""

    def __init__(self, session: ort.InferenceSession, spec: ModelSpec) -> None:
        ports = ordered_inputs(read_ports(session.get_inputs()), spec)
        self.ports: list[Port] = ports
        self.dtypes: tuple[Type, ...] = tuple(map(dtype_of, ports))
        if spec.input == "matrix":
            self.dtypes *= len(spec.columns)
        self._takes_matrix = spec.input == "matrix"
        self._names = [port.name for port in ports]
        self._is_flat = [len(port.dims or ()) == 1 for port in ports]
        self._has_flat = any(self._is_flat)

    def of(self, table: Table) -> dict[str, Array]:
        columns: Sequence[Array] = table.columns
        if table.matrix is not None:
            if self._takes_matrix:
                return {self._names[0]: table.matrix}
            columns = split(table.matrix)
        if self._has_flat:
            columns = [
                column.reshape(-1) if is_flat else column
                for column, is_flat in zip(columns, self._is_flat, strict=True)
            ]
        return dict(zip(self._names, columns, strict=True))
