"""Files that ONNX Runtime itself refuses: its sentences become ours before anything of them is cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from inference.engines.base import ModelLoadError
from inference.engines.onnx.runtime import open_session

OPSET = 17


def graph(
    *nodes: NodeProto, opset: int = OPSET, further: dict[str, int] | None = None, of: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """x (n, 3) to y (n, 3) through these nodes."""
    ports = [helper.make_tensor_value_info(name, of, ["n", 3]) for name in ("x", "y")]
    domains = {"": opset} | (further or {})
    model = helper.make_model(
        helper.make_graph(list(nodes), "g", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid(name, version) for name, version in domains.items()],
    )
    model.ir_version = 8
    return model


def node(operator: str, inputs: Sequence[str] = ("x",), output: str = "y", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def of_ir(version: int) -> onnx.ModelProto:
    model = graph(node("Relu"))
    model.ir_version = version
    return model


def without_opset() -> onnx.ModelProto:
    model = graph(node("Relu"))
    del model.opset_import[:]
    return model


def with_locale() -> onnx.ModelProto:
    model = graph(node("StringNormalizer", locale="xx_YY", case_change_action="LOWER"), of=TensorProto.STRING)
    for port in (*model.graph.input, *model.graph.output):
        del port.type.tensor_type.shape.dim[:]
        port.type.tensor_type.shape.dim.add().dim_value = 1
    return model


def with_weights_at(location: str) -> onnx.ModelProto:
    model = graph(node("Add", ["x", "w"]))
    weights = numpy_helper.from_array(np.ones((1000, 3), "f4"), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    model.graph.initializer.append(weights)
    return model


REFUSED = {
    "opset": (graph(node("Relu"), opset=99), ("opset 99 of ai.onnx", "Export it again with target_opset=")),
    "opset of ml": (graph(node("Relu"), further={"ai.onnx.ml": 99}), ("opset 99 of ai.onnx.ml", "reads up to")),
    "IR version": (of_ir(99), ("IR version 99", "model.ir_version = ")),
    "no opset": (without_opset(), ("which opset", "opset_imports")),
    "custom operator": (
        graph(node("Foo", domain="my.ops"), further={"my.ops": 1}),
        ("custom operator Foo of my.ops", "standard operators only"),
    ),
    "unknown operator": (graph(node("NoSuchOp")), (f"NoSuchOp, which opset {OPSET} of ONNX does not have",)),
    "removed operator": (graph(node("Upsample")), (f"Upsample, which ONNX removed before opset {OPSET}",)),
    "no implementation": (
        graph(node("Relu"), of=TensorProto.INT64),
        ("operator Relu (version 14) on a CPU", "float32"),
    ),
    "locale": (with_locale(), ("the locale xx_YY", 'locale="C"')),
    "weights elsewhere": (with_weights_at("weights.bin"), ("weights.bin, which is not here", "one zip archive")),
    "weights above": (with_weights_at("../weights.bin"), ("outside its own folder",)),
    "weights by a path": (with_weights_at("/weights.bin"), ("outside its own folder",)),
    "dangling input": (graph(node("Add", ["x", "lost"])), ("the value lost, which nothing in it makes",)),
    "too few inputs": (graph(node("Conv")), ("a node has 1 inputs",)),
    "attribute": (graph(node("Relu", speed=7)), ("the operator Relu has no attribute speed",)),
    "shapes": (graph(node("Softmax", axis=7)), ("broken at the operator Softmax", "Its actual value is: 7")),
    "twice": (
        graph(node("Relu", output="t"), node("Relu", output="t"), node("Relu", ["t"])),
        ("two nodes make the value t",),
    ),
    "circle": (graph(node("Relu", ["b"], "a"), node("Relu", ["a"], "b"), node("Relu")), ("it runs in a circle",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_in_the_way_and_what_helps(tmp_path: Path, name: str) -> None:
    model, words = REFUSED[name]
    path = tmp_path / "secret-folder" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelLoadError) as refusal:
        open_session(path)

    said = str(refusal.value)
    assert [part for part in words if part not in said] == [], said
    assert "secret-folder" not in said
    assert "ONNXRuntimeError" not in said
    assert ".cc" not in said


def test_weights_that_are_cut_off_are_told(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(20))
    (tmp_path / "model.onnx").write_bytes(with_weights_at("weights.bin").SerializeToString())

    with pytest.raises(ModelLoadError, match="cut off: w reaches beyond its end"):
        open_session(tmp_path / "model.onnx")
