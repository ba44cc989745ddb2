"""A work process by itself: what it gives up, and what its answers may be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contract.model_spec import ModelSpec
from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.own_process import IsolatedModel
from gateway.models.spool import Spool
from inference.sandbox.child_process import BASE_MEMORY_BYTES, ChildProcess
from inference.sandbox.prediction_messages import (
    Failed,
    Loaded,
    ModelRef,
    Predict,
    Refused,
    Replied,
    decode_answer,
    encode,
)
from tests.model_files import matrix_spec, passing_on

# Landlock takes 16 rulesets one upon the other: behind these no further one is taken.
_SIXTEEN_RULESETS = """
import os, sys
from pathlib import Path
from inference.sandbox import limits as sandbox
for _ in range(16):
    sandbox.forbid_reading(except_under=(Path("/"),))
os.execv(sys.executable, [sys.executable, "-m", "inference.sandbox.prediction_child", *sys.argv[1:]])
"""


def question(tmp_path: Path) -> Predict:
    spec: ModelSpec = matrix_spec(1, task="regression")
    (tmp_path / "model").write_bytes(passing_on())
    model = ModelRef(1, str(tmp_path / "model"), "onnx", msgspec.json.encode(spec))
    headers = {b"content-type": b"text/csv"}
    return Predict(model, "predict", headers, "1", body=None, asks=False, max_body_bytes=100_000)


def body_of(tmp_path: Path) -> Spool:
    body = Spool(tmp_path)
    body.append(b"a\n" + b"1\n" * 1000)
    return body


def test_what_the_kernel_does_not_take_is_told(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    options = {"socket": theirs.fileno(), "parent": os.getpid(), "memory": 1 << 30, "file-size": 0, "nice": 0}
    words = [f"--{name}={value}" for name, value in options.items()] + [f"--readable={tmp_path}"]
    with subprocess.Popen(
        [sys.executable, "-c", _SIXTEEN_RULESETS, *words], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
    ) as process:
        theirs.close()
        ours.close()  # nothing is asked, so it ends
        _, log = process.communicate(timeout=60)

    told = [line for line in log.splitlines() if "work_process_not_confined" in line]
    assert len(told) == 1, log
    assert "writing, reading" in told[0]
    assert process.returncode == 0


async def test_a_full_disk_is_no_fault_of_the_model(tmp_path: Path) -> None:
    process = ChildProcess(readable=tmp_path, memory_bytes=BASE_MEMORY_BYTES, file_bytes=1_000_000, niceness=0)
    body, full = body_of(tmp_path), os.open("/dev/full", os.O_RDWR)

    answer = await process.ask(question(tmp_path), files=(body.fd, full))

    assert isinstance(answer, Refused)
    assert answer.code == "not_ready"
    assert process.is_running
    os.close(full)
    process.kill()


async def test_an_answer_that_is_too_long_is_refused_with_its_reason(tmp_path: Path) -> None:
    process = ChildProcess(readable=tmp_path, memory_bytes=BASE_MEMORY_BYTES, file_bytes=100, niceness=0)
    body, answer_file = body_of(tmp_path), Spool(tmp_path)

    answer = await process.ask(question(tmp_path), files=(body.fd, answer_file.fd))

    assert isinstance(answer, Failed)
    assert "fewer rows" in answer.message
    assert process.is_running
    process.kill()


async def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = question(tmp_path)
    model = IsolatedModel("a" * 16, ask.model, IncidentLog("w"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    with pytest.raises(Problem) as refused:
        await model.predict(ask, None)

    assert refused.value.kind.code == "not_ready"
    assert model.pid is None


@pytest.mark.parametrize(
    "answer",
    [
        Replied(b"text/csv\r\nset-cookie: a=b", (), b"", 0),
        Replied(b"text/csv", ((b"x-one", b"1\n2"),), b"", 0),
        Replied(b"text/csv", ((b"x-one", b"\0"),), b"", 0),
        Replied(b"text/csv", ((b"x-one: 1\r\nx-two", b"2"),), b"", 0),
        Replied(b"text/csv", ((b"content-length", b"0"),), b"", 0),
        Refused("malformed_body", "", (), ((b"allow", b"GET\r\n"),), None),
    ],
)
def test_headers_that_are_more_than_that_are_no_answer(answer: Replied | Refused) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_answer(encode(answer))

    assert decode_answer(encode(Loaded())) == Loaded()
    usual = Replied(b"text/csv; charset=utf-8", ((b"inference-header-content-length", b"12"),), b"", 0)
    assert decode_answer(encode(usual)) == usual
