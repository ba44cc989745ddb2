"""One row at a time through buffers that stay bound to the session.

Handing arrays to ONNX Runtime and taking arrays from it costs more than a small model: with thirty inputs 18 of 25 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from gateway.table import Array, Type

_NUMBERS = "fiub"


class _Buffers:
    """One binding with its arrays: for one call at a time."""

    def __init__(self, session: ort.InferenceSession, inputs: Sequence[tuple[str, int]], dtype: Type) -> None:
        """`inputs`: names, and how many dimensions each takes. One input takes the whole row, several a column each."""
        self.binding = session.io_binding()
        self.outputs: list[Array] = []
        width = len(inputs)
        self.row = np.zeros((1, width), dtype)
        for index, (name, n_dimensions) in enumerate(inputs):
            cell = self.row[0, index : index + 1]
            self.binding.bind_cpu_input(name, cell if n_dimensions == 1 else cell.reshape(1, 1))

    @classmethod
    def of_matrix(cls, session: ort.InferenceSession, name: str, width: int, dtype: Type) -> _Buffers:
        made = cls(session, (), dtype)
        made.row = np.zeros((1, width), dtype)
        made.binding.bind_cpu_input(name, made.row)
        return made

    def bind_outputs(self, names: Sequence[str], like: Sequence[Array]) -> None:
        for name, sample in zip(names, like, strict=True):
            array = np.zeros(sample.shape, sample.dtype)
            self.binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            self.outputs.append(array)


class RowRuns:
    """Runs single rows for one session. Safe to use in several threads: each call takes buffers for itself."""

    def __init__(
        self,
        session: ort.InferenceSession,
        options: ort.RunOptions,
        *,
        inputs: Sequence[tuple[str, int]],
        output_names: Sequence[str],
        matrix_width: int | None,
        dtype: Type,
    ) -> None:
        self._session = session
        self._options = options
        self._inputs = inputs
        self._output_names = output_names
        self._matrix_width = matrix_width
        self._dtype = dtype
        self._spare: list[_Buffers] = []
        self._like: list[Array] | None = None

    def learn(self, outputs: Sequence[Any]) -> None:
        """What the graph gives for one row; an output that is no array of numbers can't be bound."""
        if all(isinstance(output, np.ndarray) and output.dtype.kind in _NUMBERS for output in outputs):
            self._like = [np.empty_like(output) for output in outputs]

    def run(self, row: Array) -> list[Array] | None:
        """The outputs for a `(1, n_columns)` row, or None where the usual way has to be gone."""
        if self._like is None:
            return None
        try:
            buffers = self._spare.pop()
        except IndexError:
            buffers = self._made(self._like)
        buffers.row[0] = row[0]
        try:
            self._session._sess.run_with_iobinding(buffers.binding._iobinding, self._options)
        except Exception:  # noqa: BLE001  # the usual way says what is wrong, or copes with an output of another shape
            return None
        outputs = [array.copy() for array in buffers.outputs]
        self._spare.append(buffers)
        return outputs

    def _made(self, like: Sequence[Array]) -> _Buffers:
        if self._matrix_width is None:
            buffers = _Buffers(self._session, self._inputs, self._dtype)
        else:
            buffers = _Buffers.of_matrix(self._session, self._inputs[0][0], self._matrix_width, self._dtype)
        buffers.bind_outputs(self._output_names, like)
        return buffers
