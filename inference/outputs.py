"""Which output of a model is what, by types and names: for versions that were registered before meanings were stored.

At registration, where no description exists yet, the outputs' types and names propose a label and scores, and from
these a task. At loading, the description is known: `roles_for` says which output plays which role in serving it.
A version with a meaning has its roles there, and nobody asks here (docs/model-meaning.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from contract.model_spec import ModelSpec, Task, is_plain_integer
from inference.signature import NotServable, Port, Signature


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


def score_output(outputs: Iterable[Port]) -> Port | None:
    """Probabilities (plain, or as one mapping a row) or values, while nothing is known of the classes."""
    ports = list(outputs)
    maps = [port for port in ports if port.kind == "map"]
    return next(iter(maps or _named(_floats(ports), "prob") or _floats(ports)), None)


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


# --- what is predicted ----------------------------------------------------------------------------------------------


def task_of(signature: Signature, *, stated: Task | None = None, stated_classes: int | None = None) -> Task:
    """What is predicted, from the outputs and what the owner states. Raises `NotServable` if these contradict."""
    label, score = label_output(signature.outputs), score_output(signature.outputs)
    if score is None:
        raise NotServable(_no_score_words(signature.outputs, label))
    if label is not None:
        if stated == "regression":
            raise NotServable(f"The metadata says regression; the output {label.name} gives a class.")
        return _task_by_count(class_count(signature) or stated_classes, stated)
    width = score.dims[1] if score.dims is not None and len(score.dims) == 2 else 1
    if width is not None and width > 1:
        if stated in {"binary", "multiclass"} and stated_classes is not None:
            return _task_by_count(width, stated if stated_classes == width else None)
        raise NotServable(
            f"The output {score.name} gives {width} numbers a row and no class label. If they are probabilities, "
            "a metadata file must say so: task, and classes in their order. A regression gives one number."
        )
    return _task_by_count(2, stated) if stated in {"binary", "multiclass"} else "regression"


def _no_score_words(outputs: Sequence[Port], label: Port | None) -> str:
    if label is not None:
        return (
            f"The output {label.name} gives a class without probabilities. "
            "Export a classifier that gives both (for example one with predict_proba)."
        )
    names = ", ".join(f"{port.name} ({port.type})" for port in outputs)
    return f"No output is a number or a class with probabilities: {names}."


def _task_by_count(count: int | None, stated: Task | None) -> Task:
    """Two classes are binary, whatever is stated; without a count the statement stands."""
    if count is None:
        return stated or "multiclass"
    task: Task = "binary" if count == 2 else "multiclass"
    if stated is not None and stated != task:
        raise NotServable(f"The metadata says {stated}; the graph gives {count} classes.")
    return task


def class_count(signature: Signature) -> int | None:
    """How many classes a row is divided among; None if the model doesn't say."""
    if signature.labels is not None:
        return len(signature.labels)
    score = score_output(signature.outputs)
    return score.width if score is not None else None
