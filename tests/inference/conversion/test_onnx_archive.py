"""ONNX models with their weights in files beside them, as one zip archive."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.conversion import archive as archive_module
from inference.conversion.archive import Archive, opened
from inference.conversion.onnx_archive import joined
from inference.signature import NotServable


def linear(n_weights: int = 1) -> onnx.ModelProto:
    """x (n, 3) times a matrix, so many times."""
    nodes, weights, value = [], [], "x"
    for index in range(n_weights):
        weights.append(numpy_helper.from_array(np.full((3, 3), index + 0.5, "f4"), f"w{index}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"y{index}"]))
        value = f"y{index}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", value)]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def with_a_branch() -> onnx.ModelProto:
    """A weight within the body of an If."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    weight = numpy_helper.from_array(np.ones((3, 3), "f4"), "w")
    inner = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])
    body = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["z"])], "b", [], [inner], [weight])
    always = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True), "v"))
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    model = helper.make_model(
        helper.make_graph([always, node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def packed(folder: Path, model: onnx.ModelProto, *, below: str = "", one_file: bool = True) -> Path:
    """As onnx itself writes it, in a zip archive."""
    source = folder / "source"
    source.mkdir()
    onnx.save_model(
        model,
        str(source / "model.onnx"),
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="weights.bin" if one_file else None,
        size_threshold=0,
    )
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.iterdir()):
            archive.write(file, below + file.name)
    return path


def answer(content: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": np.arange(6, dtype="f4").reshape(2, 3)})[0])


@pytest.mark.parametrize("below", ["", "export/v1/"])
@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("model", [linear, lambda: linear(3), with_a_branch], ids=["one", "three", "branch"])
def test_the_joined_file_answers_as_the_model(
    tmp_path: Path, model: Callable[[], onnx.ModelProto], one_file: bool, below: str
) -> None:
    expected = answer(model().SerializeToString())

    content = joined(packed(tmp_path, model(), below=below, one_file=one_file))

    assert np.array_equal(answer(content), expected)


def test_an_archive_of_one_plain_file_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", linear().SerializeToString())
        archive.writestr("README.md", "hello")
        archive.writestr("__MACOSX/._model.onnx", "x")

    assert onnx.load_model_from_string(joined(path)) == linear()


def rewritten(folder: Path, change: Callable[[onnx.TensorProto], None]) -> Path:
    """The archive with another word on where the weights are."""
    path = packed(folder, linear())
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    model = onnx.load_model_from_string(files["model.onnx"])
    change(model.graph.initializer[0])
    files["model.onnx"] = model.SerializeToString()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def saying(**values: str) -> Callable[[onnx.TensorProto], None]:
    def change(tensor: onnx.TensorProto) -> None:
        kept = {entry.key: entry.value for entry in tensor.external_data} | values
        del tensor.external_data[:]
        for key, value in kept.items():
            tensor.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (saying(location="../weights.bin"), "outside of the zip archive"),
        (saying(location="/etc/passwd"), "outside of the zip archive"),
        (saying(location=""), "outside of the zip archive"),
        (saying(location="gone.bin"), "lacks the file gone.bin"),
        (saying(offset="4000"), "reach beyond its end"),
        (saying(length="9" * 18), "reach beyond its end"),
        (saying(offset="-4"), "no usable offset"),
        (saying(length="many"), "no usable length"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_that_are_not_where_they_should_be_are_refused(
    tmp_path: Path, change: Callable[[onnx.TensorProto], None], words: str
) -> None:
    with pytest.raises(NotServable, match=words):
        joined(rewritten(tmp_path, change))


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("a/../../x.onnx", b"")], "a file outside of itself"),
        ([("/x.onnx", b"")], "a file outside of itself"),
        ([("..\\x.onnx", b"")], "a file outside of itself"),
        ([("C:/x.onnx", b"")], "a file outside of itself"),
        ([(link("x.onnx"), b"/etc/passwd")], "a link or a device"),
        ([("x.onnx", b"not one")], "damaged or cut off"),
        ([("a.onnx", b""), ("b.onnx", b"")], "has a.onnx, b.onnx"),
        ([("a.txt", b"")], "has none"),
        ([(f"{number}.txt", b"") for number in range(1001)], "has 1001 files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_strange_archive_is_refused(
    tmp_path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]], words: str
) -> None:
    with pytest.raises(NotServable, match=words):
        joined(zip_of(tmp_path / "x.zip", *entries))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MOST_BYTES", 1 << 20)
    path = zip_of(tmp_path / "x.zip", ("x.onnx", bytes(2 << 20)))

    assert path.stat().st_size < 10_000
    with pytest.raises(NotServable, match="more than 1 MB when it is unpacked"):
        Archive(path)


def test_a_size_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", ("x.onnx", bytes(1000)))
    content = path.read_bytes()
    place = content.rindex((1000).to_bytes(4, "little"))  # in the central directory
    path.write_bytes(content[:place] + (10).to_bytes(4, "little") + content[place + 4 :])

    with pytest.raises(NotServable, match=r"can't be unpacked|another size"):
        joined(path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and no more")

    with pytest.raises(NotServable, match="damaged"):
        joined(tmp_path / "x.zip")


def test_a_list_of_a_million_files_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    name = "a" * 200
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(6000):
            archive.writestr(f"{name}{number}", b"")

    with pytest.raises(NotServable, match="too many files"):
        opened(path)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", ("x.onnx", bytes(range(256)) * 50))
    content = bytearray(path.read_bytes())
    content[50:80] = bytes(30)
    path.write_bytes(content)

    with pytest.raises(NotServable, match="can't be unpacked"):
        joined(path)


def test_an_archive_with_a_64_bit_end_is_read(tmp_path: Path) -> None:
    """Some packers write it always."""
    path = zip_of(tmp_path / "x.zip", ("x.onnx", linear().SerializeToString()))
    content = path.read_bytes()
    place = content.rindex(b"PK\x05\x06")
    (_, _, _, _, n_files, size, offset, _) = struct.unpack("<4s4H2LH", content[place : place + 22])
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n_files, n_files, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    path.write_bytes(content[:place] + end + locator + content[place:])

    assert onnx.load_model_from_string(joined(path)) == linear()
