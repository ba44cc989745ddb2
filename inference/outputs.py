"""Which output of a model is what, for versions stored before meanings were: by the outputs' types and names.

New versions have it decided at registration (`inference.meaning`). These rules stay as they are, so that a stored
version goes on answering what it answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from contract.model_spec import ModelSpec, is_plain_integer
from inference.signature import NotServable, Port


class OutputRoles(msgspec.Struct, frozen=True, kw_only=True):
    """The outputs that serving reads; the others are never computed. A regression has a `value`, a classification
    `probabilities` and, where it tells the class, a `label`."""

    value: Port | None = None
    label: Port | None = None
    probabilities: Port | None = None


def roles_for(outputs: Sequence[Port], spec: ModelSpec) -> OutputRoles:
    """The roles in serving a model by this description. Raises `NotServable` where the two contradict each other."""
    if spec.task == "regression":
        return OutputRoles(value=_value_output(outputs))
    if len(spec.classes) < 2:
        raise NotServable("A classification needs at least two classes.")
    probabilities = _probability_output(outputs, len(spec.classes))
    label = label_output(outputs)
    if label is not None and probabilities.kind != "map" and not _tells_class(label, spec):
        label = None
    return OutputRoles(label=label, probabilities=probabilities)


# --- by type and name -----------------------------------------------------------------------------------------------


def label_output(outputs: Iterable[Port]) -> Port | None:
    """The output that names the class: whole numbers, text or yes/no, one a row."""
    found = [port for port in outputs if port.kind in {"int", "string", "bool"}]
    return next(iter(_named(found, "label", "class") or found), None)


def _floats(ports: Iterable[Port]) -> list[Port]:
    return [port for port in ports if port.kind == "float"]


def _named(ports: Iterable[Port], *words: str) -> list[Port]:
    return [port for port in ports if any(word in port.name.lower() for word in words)]


def _value_output(outputs: Sequence[Port]) -> Port:
    numbers = _floats(outputs) or [port for port in outputs if port.kind == "int"]
    if not numbers:
        raise NotServable("The description says regression, but no output is a number.")
    if (width := numbers[0].width or 1) > 1:
        raise NotServable(f"The output {numbers[0].name} gives {width} numbers a row; a regression gives one.")
    return numbers[0]


def _probability_output(outputs: Sequence[Port], n_classes: int) -> Port:
    if maps := [port for port in outputs if port.kind == "map"]:
        return maps[0]
    floats = _floats(outputs)
    if not floats:
        raise NotServable("The model gives no probabilities, only labels. Export a classifier that gives both.")
    widths = {n_classes, 1, None} if n_classes == 2 else {n_classes, None}
    fitting = [port for port in floats if port.width in widths]
    if not fitting:
        raise NotServable(
            f"The description has {n_classes} classes, the output {floats[0].name} gives {floats[0].width}."
        )
    likely = _named(fitting, "prob") or fitting
    exact = [port for port in likely if port.width == n_classes]
    return (exact or likely)[0]


def _tells_class(label: Port, spec: ModelSpec) -> bool:
    """Whole-number labels tell the class only where the classes' names are whole numbers: else it is at the highest
    probability, which is right whatever number the labels start from."""
    return label.kind == "string" or all(is_plain_integer(name) for name in spec.classes)
