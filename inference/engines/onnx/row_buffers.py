"""One row at a time through buffers that stay bound to the session.

Handing arrays to ONNX Runtime and taking arrays from it costs more than a small model: with thirty inputs 18 of 25 µs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from inference.table import Array, Type

_NUMBERS = "fiub"
_FAILURES = 3  # then rows go the usual way for good


# How `struct` calls the array types: packing a row with it takes a third of the time of assigning it.
_CODES = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}
_CODES |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?"}


class _Buffers:
    """One binding with its arrays: for one call at a time."""

    def __init__(
        self, session: ort.InferenceSession, inputs: Sequence[tuple[str, int]], width: int, dtype: Type
    ) -> None:
        """`inputs`: names, and how many dimensions each takes. One input takes the whole row, several a column each."""
        self.binding = session.io_binding()
        self.outputs: list[Array] = []
        row = np.zeros((1, width), dtype)
        self._memory = row.data.cast("B")
        self._pack = struct.Struct(f"{width}{_CODES[dtype.str[1:]]}").pack_into
        if len(inputs) < width:
            self.binding.bind_cpu_input(inputs[0][0], row)
            return
        for index, (name, n_dimensions) in enumerate(inputs):
            cell = row[0, index : index + 1]
            self.binding.bind_cpu_input(name, cell if n_dimensions == 1 else cell.reshape(1, 1))

    def fill(self, row: tuple[Any, ...]) -> None:
        """Raises `struct.error` or `OverflowError` for what the array type can't hold, such as None."""
        self._pack(self._memory, 0, *row)

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
        *,
        inputs: Sequence[tuple[str, int]],
        output_names: Sequence[str],
        width: int,
        dtype: Type,
    ) -> None:
        self._session = session
        self._inputs = inputs
        self._output_names = output_names
        self._width = width
        self._dtype = dtype
        self._spare: list[_Buffers] = []
        self._like: list[Array] | None = None
        self._failures = 0

    def learn(self, outputs: Sequence[Any]) -> None:
        """What the graph gives for one row; an output that is no array of numbers can't be bound."""
        if self._failures >= _FAILURES:
            return
        if all(isinstance(output, np.ndarray) and output.dtype.kind in _NUMBERS for output in outputs):
            self._like = [np.empty_like(output) for output in outputs]

    def run(self, row: tuple[Any, ...]) -> list[Array] | None:
        """The outputs for a row's cells, or None where the usual way has to be gone."""
        if self._like is None:
            return None
        try:
            buffers = self._spare.pop()
        except IndexError:
            buffers = self._made(self._like)
        try:
            buffers.fill(row)
        except (struct.error, TypeError, OverflowError):  # the usual way copes with None, or says what is wrong
            self._spare.append(buffers)
            return None
        try:
            # Without options: with them, the wrapper takes 100 µs to look for WebGPU's. The session itself is silent.
            self._session.run_with_iobinding(buffers.binding)
        except Exception:  # noqa: BLE001  # as above; perhaps this row's answer has another shape than the first's
            self._failures += 1
            if self._failures >= _FAILURES:  # it may be so with every row: each would be computed twice
                self._like = None
            return None
        outputs = [array.copy() for array in buffers.outputs]
        self._spare.append(buffers)
        return outputs

    def _made(self, like: Sequence[Array]) -> _Buffers:
        buffers = _Buffers(self._session, self._inputs, self._width, self._dtype)
        buffers.bind_outputs(self._output_names, like)
        return buffers
