"""The one value per row that scoring protocols answer with: the predicted class, the value, or an object of values."""

from __future__ import annotations

from contract.model_spec import ModelSpec, is_plain_integer
from inference.answers import answer_shape
from inference.formats.numbers import answer_texts
from inference.formats.replies import json_text, object_template
from inference.table import Classification, Layout, Prediction


def has_whole_number_classes(classes: tuple[str, ...]) -> bool:
    """Whether these protocols answer the classes as numbers, as the model would."""
    return bool(classes) and all(is_plain_integer(name) for name in classes)


class PlainAnswers:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        shape = answer_shape(spec)
        has_numbers = has_whole_number_classes(shape.classes)
        self._json_by_class = [name if has_numbers else json_text(name) for name in shape.classes]
        self._regression = "%s" if shape.has_one_target else object_template(shape.targets)

    def json(self, prediction: Prediction) -> str:
        """A JSON list, one element a row."""
        if isinstance(prediction, Classification):
            cells = [self._json_by_class[index] for index in prediction.class_indexes]
        else:
            cells = [self._regression % texts for texts in answer_texts(prediction)]
        return f"[{','.join(cells)}]"
