"""A model that is tried before anybody says what it means: rows through the file as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.meaning import Meaning
from contract.model_spec import DEFAULT_FORMAT, Cell, ModelSpec
from inference.engines import ModelFailed, ModelLoadError, engine_for
from inference.meaning.classes import ClassesRefused
from inference.meaning.frozen import frozen_meaning
from inference.meaning.probes import Row
from inference.meaning.roles import RolesRefused
from inference.meaning.study import StatedMeaning, study
from inference.sandbox.inspection_messages import CheckFound, ModelStudied, QuestionFound, StudyModel
from inference.signature import Signature
from inference.table import Layout, LayoutError, Table, Type


class Trial:
    """Of the spec, only columns and layout count, but for `frozen`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Raises `ModelLoadError`."""
        self.spec = spec
        self._session = engine_for(DEFAULT_FORMAT).load_raw(path, spec)
        try:
            self._layout = Layout(spec, self._session.dtypes)
        except LayoutError as error:
            raise ModelLoadError(str(error)) from None

    def run(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """What came of each output. Raises `ModelFailed`."""
        return self._session.outputs(self._table(rows))

    def _table(self, rows: Sequence[Row]) -> Table:
        columns = list(zip(self.spec.columns, self._session.dtypes, strict=True))
        cells = [[_cell(row.get(column.name), dtype) for column, dtype in columns] for row in rows]
        return self._layout.table_from_rows([tuple(row[i] for i in self._layout.field_order) for row in cells])

    def frozen(self, signature: Signature) -> Meaning:
        """What the rules by name pick. Raises `NotServable`, `ModelFailed`."""
        return frozen_meaning(self.run, self.spec, signature.outputs, signature.labels)

    def study(self, request: StudyModel) -> ModelStudied:
        """Raises `ModelFailed` where one of the owner's rows can't be computed."""
        stated = StatedMeaning(
            task=request.task,
            roles=request.roles,
            classes=request.class_names or request.class_list or None,
            targets=request.targets,
        )
        try:
            found = study(self.run, self.spec, stated, sample_rows=request.rows, graph_labels=request.labels)
        except (RolesRefused, ClassesRefused) as refusal:
            return ModelStudied(refusal=refusal.note)
        return ModelStudied(
            task=found.task,
            meaning=found.meaning,
            class_origin=found.class_origin,
            questions=tuple(
                QuestionFound(q.code, q.output, q.choices, q.tasks, q.seen, q.n_classes) for q in found.questions
            ),
            checks=tuple(
                CheckFound(c.code, c.outcome, None if c.row is None else found.tried.rows[c.row], c.params)
                for c in found.checks
            ),
            n_rows=len(found.tried.rows),
            failures=tuple(words for _, words in found.tried.failures[:3]),
        )


def _cell(value: Cell, dtype: Type) -> Cell:
    """As the array has it. Raises `ModelFailed` for what it can't hold."""
    if value is None and dtype.kind not in "fO":
        raise ModelFailed("A value is missing, and the model's type has no missing value.")
    if value is not None and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return min(max(int(value), int(limits.min)), int(limits.max))
    return value
