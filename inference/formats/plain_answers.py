"""The one value per row that scoring protocols answer with: the predicted class, or the value."""

from __future__ import annotations

import msgspec

from contract.model_spec import ModelSpec, is_plain_integer
from inference.formats.numbers import number_texts
from inference.table import Classification, Layout, Prediction


class PlainAnswers:
    """Compiled once per loaded model. Classes that are whole numbers are answered as numbers, as the model would."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self.has_integers = bool(spec.classes) and all(is_plain_integer(name) for name in spec.classes)
        encoded = spec.classes if self.has_integers else [msgspec.json.encode(name).decode() for name in spec.classes]
        self._json_by_class = list(encoded)

    def json(self, prediction: Prediction) -> str:
        """A JSON list, one element a row."""
        if isinstance(prediction, Classification):
            cells = [self._json_by_class[index] for index in prediction.class_indexes]
        else:
            cells = number_texts(prediction.values)
        return f"[{','.join(cells)}]"
