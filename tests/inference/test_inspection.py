"""The inspection child: what it reads, what it refuses, and what it can't do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.model_spec import Column, ModelSpec, spec_from_json
from contract.settings import PROJECT_DIR
from inference.sandbox import limits
from inference.sandbox.inspection import InspectionChild, InspectionRefused, SelfTestFailed
from tests.apimgmt.registry import makers

ONE_NUMBER = ModelSpec(task="regression", columns=(Column(name="x", type="float"),), input="columns", sample={"x": 1.0})


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def demo_model(name: str) -> tuple[Path, ModelSpec]:
    path = makers.DEMO_MODELS / f"{name}.onnx"
    return path, spec_from_json(json.loads(path.with_suffix(".json").read_text()))


@pytest.mark.parametrize("name", ["penguins", "breast_cancer", "diabetes"])
def test_a_demo_model_fits_its_description_and_predicts_its_sample(name: str) -> None:
    path, spec = demo_model(name)

    with InspectionChild() as child:
        child.check(path, spec)
        result = child.self_test(path, spec)

    assert result.row_us > 0
    assert ("value" in result.prediction) == (spec.task == "regression")


def test_one_child_serves_both_stages() -> None:
    path, spec = demo_model("diabetes")

    with InspectionChild() as child:
        child.check(path, spec)
        first = child.pid
        child.self_test(path, spec)

        assert child.pid == first


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [("text", ("setosa", "versicolor", "virginica")), ("int", (0, 1, 2)), ("tens", (10, 20, 30))],
)
def test_labels_are_read_with_and_without_zipmap(
    tmp_path: Path, labels: str, expected: tuple[str | int, ...], zipmap: bool
) -> None:
    path = saved(tmp_path, makers.iris(labels, zipmap=zipmap))

    with InspectionChild() as child:
        signature = child.read(path)

    assert set(signature.labels.values()) == {expected}
    assert signature.outputs[0].name in signature.labels


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_an_open_width_is_counted_in_the_graph(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, makers.iris(width=None, kind=kind))

    with InspectionChild() as child:
        signature = child.read(path)

    assert (signature.width, signature.likely_width) == (None, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (makers.image(), "This console serves tables: the input image has 4 dimensions, [n, 3, 224, 224]"),
        (makers.sequence(), "This console serves tables: the input parts is a seq"),
        (makers.two_matrices(), "the input left is a matrix [n, 3] beside other inputs"),
        (makers.two_rows_only(), "takes exactly 2 rows at a time"),
        (makers.custom_operator(), "uses the custom operator Frobnicate of com.example"),
        (makers.external_weights(), "keeps its weights in other files (../../../etc/passwd)"),
        (b"\x08\x0a" + bytes(range(256)), "damaged or cut off"),
        (b"\x12\x03abc", "not an ONNX model"),
    ],
    ids=makers.case_id,
)
def test_what_is_no_table_model_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = saved(tmp_path, content)

    with InspectionChild() as child, pytest.raises(InspectionRefused) as refusal:
        child.read(path)

    assert words in str(refusal.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    whole = (makers.DEMO_MODELS / "penguins.onnx").read_bytes()
    path = saved(tmp_path, whole[: int(len(whole) * share)])

    with InspectionChild() as child, pytest.raises(InspectionRefused, match="damaged or cut off"):
        child.read(path)


@pytest.mark.parametrize("place", [0, 7, 101, 1009, 40_009, 79_999])
def test_flipped_bytes_end_in_an_answer_or_a_refusal(tmp_path: Path, place: int) -> None:
    content = bytearray((makers.DEMO_MODELS / "penguins.onnx").read_bytes())
    content[place : place + 8] = b"\xff" * 8
    path = saved(tmp_path, bytes(content))

    with InspectionChild() as child:
        try:
            outcome: object = child.read(path).outputs
        except InspectionRefused as refusal:
            outcome = str(refusal)

    assert outcome


def test_a_graph_that_contradicts_itself_is_refused_without_naming_a_folder(tmp_path: Path) -> None:
    content = (makers.DEMO_MODELS / "penguins.onnx").read_bytes().replace(b"merged_columns", b"merged_colunms", 1)
    path = saved(tmp_path, content)

    with (
        InspectionChild() as child,
        pytest.raises(InspectionRefused, match="The graph is broken") as refusal,
    ):
        child.read(path)

    assert str(tmp_path) not in str(refusal.value)


def test_a_description_that_does_not_fit_is_refused() -> None:
    path, spec = demo_model("diabetes")
    fewer = ModelSpec(task="regression", columns=spec.columns[:-1], input="matrix", sample=spec.sample)

    with InspectionChild() as child, pytest.raises(InspectionRefused, match=r"9 columns.*takes 10"):
        child.check(path, fewer)


def test_a_model_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, makers.memory_hog())

    with InspectionChild() as child, pytest.raises(SelfTestFailed, match="more memory than an inspection may take"):
        child.self_test(path, ONE_NUMBER)


def test_a_model_that_never_ends_is_refused_in_time(tmp_path: Path) -> None:
    path = saved(tmp_path, makers.endless())

    with InspectionChild(timeout_s=2) as child, pytest.raises(SelfTestFailed, match="longer than 2 s"):
        child.self_test(path, ONE_NUMBER)


def test_a_killed_child_is_a_refusal_and_the_next_call_starts_another(tmp_path: Path) -> None:
    path, spec = demo_model("diabetes")

    with InspectionChild() as child:
        child.check(path, spec)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(SelfTestFailed, match="SIGKILL"):
            child.self_test(path, spec)

        assert child.self_test(path, spec).prediction


def test_a_result_that_is_no_number_fails_the_self_test(tmp_path: Path) -> None:
    path = saved(tmp_path, makers.not_finite())

    with InspectionChild() as child, pytest.raises(SelfTestFailed, match="not a finite number"):
        child.self_test(
            path, ModelSpec(task="regression", columns=ONE_NUMBER.columns, input="columns", sample={"x": 0.0})
        )


def test_a_missing_file_is_a_refusal(tmp_path: Path) -> None:
    with InspectionChild() as child, pytest.raises(InspectionRefused, match="No such file"):
        child.check(tmp_path / "gone.onnx", ONE_NUMBER)


def test_no_child_outlives_its_use() -> None:
    path, spec = demo_model("diabetes")

    with InspectionChild() as child:
        child.check(path, spec)
        pid = child.pid

    assert not Path(f"/proc/{pid}").exists()


def test_the_child_gets_none_of_the_consoles_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "not for strangers")
    path, spec = demo_model("diabetes")

    with InspectionChild() as child:
        child.check(path, spec)
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()

    assert b"SECRET_KEY" not in environment
    assert b"DATABASE_URL" not in environment


def test_the_child_has_all_its_limits_here() -> None:
    path, spec = demo_model("diabetes")

    with InspectionChild() as child:
        child.check(path, spec)
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        network = os.readlink(f"/proc/{child.pid}/ns/net")

    if child.missing_limits:
        pytest.skip(f"this machine's kernel gives no {' and no '.join(child.missing_limits)}")
    assert network != os.readlink("/proc/self/ns/net")
    assert "Max file size             0" in limits
    assert "Max address space         unlimited" not in limits


# What a hostile library inside the child would try. The sandbox is the real one; only its guest is ours.
GUEST = """
import socket, sys
from pathlib import Path
from inference.sandbox import limits as sandbox
folder, allowed, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sandbox.leave_network()
sandbox.limit_resources(memory_bytes=1 << 30, cpu_s=10)
assert sandbox.forbid_writing()
assert sandbox.forbid_reading(except_under=(allowed,))
def tried(deed):
    try:
        deed()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried(lambda: socket.create_connection(("127.0.0.1", port), 1)))
print(tried(lambda: (folder / "new").write_text("x")))
print(tried(lambda: (folder / "old").unlink()))
print(tried(lambda: (folder / "old").read_text()))
print(tried(lambda: allowed.read_bytes()))
"""


@pytest.mark.skipif(not limits.landlock_version(), reason="this machine's kernel has no Landlock")
def test_inside_the_limits_there_is_no_network_no_writing_and_one_readable_file(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("secret")
    allowed = saved(tmp_path, makers.line())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ran = run_guest(GUEST, tmp_path, allowed, port)

    assert "Error" in ran[0]  # no such network, or no right to connect: whichever limit speaks first
    assert ran[1:] == ["PermissionError", "PermissionError", "PermissionError", "done"]
    assert (tmp_path / "old").exists()


def run_guest(code: str, *arguments: Any) -> list[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_inspection_imports_neither_django_nor_the_console() -> None:
    code = "import sys, inference.sandbox.inspection, inference.sandbox.inspection_handler; print(*sys.modules)"

    modules = run_guest(code)

    assert not [name for name in modules if name.partition(".")[0] in {"django", "apimgmt", "console"}]
