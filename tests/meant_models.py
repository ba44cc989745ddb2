"""Small graphs of every shape that a model's answer can have, each with a description that says what it means.

A row is what comes out: the first column, `pick`, chooses the label, the others pass through as the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from contract.meaning import ClassLabel, Label, Meaning, Output
from contract.model_spec import Column, ModelSpec, Task
from testkit.graphs import Made, graph, node

CASES = Path(__file__).parent / "cases"

_LABEL_TYPES: dict[type, tuple[str, type]] = {
    bool: ("bool", np.bool_),
    int: ("int64", np.int64),
    str: ("string", object),
}


def spec_meaning(meaning: Meaning, columns: Sequence[str], **rest: Any) -> ModelSpec:
    """A description of numbers in one matrix, with this meaning."""
    n_classes = len(meaning.classes)
    task: Task = "regression" if not n_classes else "binary" if n_classes == 2 else "multiclass"
    return ModelSpec(
        **({"task": task, "target": "kind", "input": "matrix"} | rest),
        classes=tuple(one.name for one in meaning.classes),
        columns=tuple(Column(name=name, type="float") for name in columns),
        sample=rest.get("sample", dict.fromkeys(columns, 0.0)),
        meaning=meaning,
    )


def classes_of(labels: Sequence[Label], names: Sequence[str] | None = None) -> tuple[ClassLabel, ...]:
    texts = names or [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]
    return tuple(ClassLabel(label, name) for label, name in zip(labels, texts, strict=True))


def choosing(
    labels: Sequence[Label],
    *,
    order: Sequence[Label] | None = None,
    names: Sequence[str] | None = None,
    width: int = 0,
    role: str = "probabilities",
    element: str = "float",
    with_label: bool = True,
    **rest: Any,
) -> Made:
    """A classifier. `labels`: what `pick` chooses among; `order`: that of the numbers, where it is another.

    `width`: how many numbers stand beside the label; 0 is none.
    """
    numbers = [f"n{index}" for index in range(width)]
    kind, dtype = _LABEL_TYPES[type(labels[0])]
    nodes = [
        node("Slice", ["X", "zero", "one", "axis"], ["pick"]),
        node("Reshape", ["pick", "flat"], ["pick_flat"]),
        node("Cast", ["pick_flat"], ["index"], to=TensorProto.INT64),
        node("Gather", ["labels", "index"], ["out_a"]),
    ]
    outputs: list[Any] = [("out_a", kind, [None])]
    if width:
        nodes += [
            node("Slice", ["X", "one", "end", "axis"], ["numbers"]),
            node("Cast", ["numbers"], ["out_b"], to=getattr(TensorProto, element.upper())),
        ]
        outputs.append(("out_b", element, [None, width]))
    constants = {"zero": [0], "one": [1], "end": [width + 1], "axis": [1], "flat": [-1]}
    content = graph(
        [("X", "float", [None, width + 1])],
        outputs,
        nodes,
        {name: np.array(value, np.int64) for name, value in constants.items()} | {"labels": np.array(labels, dtype)},
    )
    given: list[Output] = [Output("out_a", "label" if with_label else "ignored")]
    if width:
        given.append(Output("out_b", role, is_single=role == "scores" and width == 1))  # type: ignore[arg-type]
    meaning = Meaning(outputs=tuple(given), classes=classes_of(order or labels, names))
    return spec_meaning(meaning, ["pick", *numbers], **rest), content


def surprising() -> Made:
    """Answers a third class, which its description doesn't list, where `pick` is 2."""
    spec, _ = choosing([0, 1], width=2)
    return spec, choosing([0, 1, 2], width=2)[1]


def zipmap(labels: Sequence[int | str], names: Sequence[str] | None = None, *, with_label: bool = True) -> Made:
    """As converters write it: a label, and a map a row from label to probability; its keys come in their own order."""
    content, width = _zipmapped(labels), len(labels)
    meaning = Meaning(
        outputs=(Output("out_a", "label" if with_label else "ignored"), Output("maps", "probabilities")),
        classes=classes_of(labels, names),
    )
    return spec_meaning(meaning, ["pick", *(f"n{index}" for index in range(width))]), content


def _zipmapped(labels: Sequence[int | str]) -> bytes:
    import onnx

    model = onnx.load_from_string(choosing(labels, width=len(labels))[1])
    is_text = isinstance(labels[0], str)
    listed: dict[str, Any] = {"classlabels_strings" if is_text else "classlabels_int64s": list(labels)}
    model.graph.node.append(helper.make_node("ZipMap", ["out_b"], ["maps"], domain="ai.onnx.ml", **listed))
    key_type = TensorProto.STRING if is_text else TensorProto.INT64
    value_type = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    map_type = helper.make_map_type_proto(key_type, value_type)
    maps = helper.make_value_info("maps", helper.make_sequence_type_proto(map_type))
    del model.graph.output[1]
    model.graph.output.append(maps)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return bytes(model.SerializeToString())


def passing(*outputs: tuple[str, str, Sequence[str]], extra: Sequence[str] = (), **rest: Any) -> Made:
    """A regression. `outputs`: name, element and targets of each; a column a target passes through, in their order."""
    columns = [f"x{index}" for index in range(sum(len(targets) for _, _, targets in outputs))]
    nodes, constants, start = [], {"axis": np.array([1], np.int64)}, 0
    for name, element, targets in outputs:
        stop = start + len(targets)
        constants |= {f"{name}_from": np.array([start], np.int64), f"{name}_to": np.array([stop], np.int64)}
        nodes += [
            node("Slice", ["X", f"{name}_from", f"{name}_to", "axis"], [f"{name}_cut"]),
            node("Cast", [f"{name}_cut"], [name], to=getattr(TensorProto, element.upper())),
        ]
        start = stop
    ports: list[Any] = [(name, element, [None, len(targets)]) for name, element, targets in outputs]
    for name in extra:  # an echo of the input that has no role
        nodes.append(node("Identity", ["X"], [name]))
        ports.append((name, "float", [None, len(columns)]))
    content = graph([("X", "float", [None, len(columns)])], ports, nodes, constants)
    roles = [Output(name, "value", tuple(targets)) for name, _, targets in outputs]
    meaning = Meaning(outputs=(*roles, *(Output(name, "ignored") for name in extra)))
    return spec_meaning(meaning, columns, **rest), content


def case(name: str) -> bytes:
    """A file of `tests/cases`, which others have failed on."""
    return (CASES / f"{name}.onnx").read_bytes()
