"""Which output of a model is what, for versions stored before meanings were."""

from __future__ import annotations

import pytest

from contract.model_spec import Column, ModelSpec, Task
from inference.engines.onnx.ports import port
from inference.outputs import OutputRoles, label_output, roles_for
from inference.signature import NotServable, Port

LABEL = port("output_label", "tensor(int64)", (None,))
TEXT_LABEL = port("output_label", "tensor(string)", (None,))
MAPS = port("output_probability", "seq(map(int64,tensor(float)))", None)


def floats(name: str, *dims: int | None) -> Port:
    return port(name, "tensor(float)", dims)


def spec(task: Task, *classes: str) -> ModelSpec:
    return ModelSpec(task=task, classes=classes, columns=(Column("a", "float"),), input="columns", sample={"a": 1.0})


def named(roles: OutputRoles) -> dict[str, str]:
    """Role -> the output that plays it."""
    ports = {"value": roles.value, "label": roles.label, "probabilities": roles.probabilities}
    return {role: port.name for role, port in ports.items() if port is not None}


def test_a_regression_reads_its_first_number() -> None:
    assert named(roles_for([LABEL, floats("a", None, 1), floats("b", None, 1)], spec("regression"))) == {"value": "a"}
    assert named(roles_for([LABEL], spec("regression"))) == {"value": "output_label"}


def test_a_classification_reads_probabilities_of_as_many_classes() -> None:
    outputs = [floats("margins", None, 2), floats("probs", None, 3), floats("others", None, 3), TEXT_LABEL]

    roles = roles_for(outputs, spec("multiclass", "x", "y", "z"))

    assert named(roles) == {"label": "output_label", "probabilities": "probs"}


def test_one_probability_a_row_serves_two_classes_unless_there_are_two() -> None:
    assert named(roles_for([floats("p", None, 1)], spec("binary", "no", "yes"))) == {"probabilities": "p"}
    both = [floats("p", None, 1), floats("q", None, 2)]
    assert named(roles_for(both, spec("binary", "no", "yes"))) == {"probabilities": "q"}


def test_whole_number_labels_are_read_only_where_the_classes_are_whole_numbers() -> None:
    outputs = [LABEL, floats("probabilities", None, 2)]

    assert "label" in named(roles_for(outputs, spec("binary", "0", "1")))
    assert "label" not in named(roles_for(outputs, spec("binary", "no", "yes")))
    assert "label" in named(roles_for([LABEL, MAPS], spec("binary", "no", "yes")))  # read by the maps' keys


@pytest.mark.parametrize(
    ("outputs", "description", "words"),
    [
        ([TEXT_LABEL], spec("regression"), "no output is a number"),
        ([floats("y", None, 2)], spec("regression"), "The output y gives 2 numbers a row"),
        ([LABEL], spec("binary", "no", "yes"), "no probabilities, only labels"),
        ([floats("p", None, 3)], spec("binary", "no", "yes"), "has 2 classes, the output p gives 3"),
        ([floats("p", None, 3)], spec("multiclass", "no"), "at least two classes"),
    ],
)
def test_outputs_that_contradict_the_description_are_refused(
    outputs: list[Port], description: ModelSpec, words: str
) -> None:
    with pytest.raises(NotServable, match=words):
        roles_for(outputs, description)


def test_a_label_is_known_by_its_name_first() -> None:
    leaves = port("leaf", "tensor(int64)", (None, 10))
    assert label_output([leaves, LABEL]) == LABEL
    assert label_output([floats("a", None, 2)]) is None
