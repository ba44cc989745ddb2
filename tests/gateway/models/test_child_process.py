"""A confined child by itself: what it gives up, how it ends, and what its responses may be."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.model_spec import ModelSpec
from contract.problems import Problem
from contract.settings import PROJECT_DIR
from gateway.models.incidents import IncidentLog
from gateway.models.isolated_model import IsolatedModel
from gateway.models.spool import Spool
from inference.engines import ModelLoadError
from inference.sandbox.async_child import AsyncChild
from inference.sandbox.child_process import ProcessEnded, ProcessNotStarted, WorkFailed
from inference.sandbox.confinement import BASE_MEMORY_BYTES, Confinement
from inference.sandbox.prediction_messages import Load, Loaded, ModelRef, Predict, Replied
from inference.sandbox.protocol import (
    LENGTH,
    MAX_MESSAGE_BYTES,
    Ready,
    Refused,
    Response,
    encode,
    message_length,
    ready_decoder,
    response_decoder,
)
from tests.model_files import matrix_spec, passing_on

# Landlock takes 16 rulesets one upon the other: behind these no further one is taken.
_SIXTEEN_RULESETS = """
import os, sys
from pathlib import Path
from inference.sandbox import limits
for _ in range(16):
    limits.forbid_reading(except_under=(Path("/"),))
os.execv(sys.executable, [sys.executable, "-m", "inference.sandbox.child", *sys.argv[1:]])
"""

Starter = Callable[..., AsyncChild]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts prediction children that may read `tmp_path`, and ends them after the test."""
    started: list[AsyncChild] = []

    def started_child(**options: Any) -> AsyncChild:
        given = {"readable": str(tmp_path), "memory_bytes": BASE_MEMORY_BYTES} | options
        child = AsyncChild("prediction", Confinement(**given))
        started.append(child)
        return child

    yield started_child
    for child in started:
        child.kill()


def model_ref(tmp_path: Path) -> ModelRef:
    spec: ModelSpec = matrix_spec(1, task="regression")
    (tmp_path / "model").write_bytes(passing_on())
    return ModelRef(1, str(tmp_path / "model"), "onnx", msgspec.json.encode(spec))


def request(tmp_path: Path, body: bytes | None = None, *, needs_approval: bool = False) -> Predict:
    headers = {b"content-type": b"text/csv"}
    return Predict(
        model_ref(tmp_path),
        "predict",
        headers,
        "1",
        body=body,
        needs_approval=needs_approval,
        max_body_bytes=100_000,
    )


def body_of(tmp_path: Path) -> Spool:
    body = Spool(tmp_path)
    body.append(b"a\n" + b"1\n" * 1000)
    return body


# --- starting ---


def test_what_the_kernel_does_not_take_is_told(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    confinement = msgspec.json.encode(Confinement(readable=str(tmp_path), memory_bytes=BASE_MEMORY_BYTES)).decode()
    words = ["prediction", str(theirs.fileno()), str(os.getpid()), confinement]

    with subprocess.Popen(
        [sys.executable, "-c", _SIXTEEN_RULESETS, *words], pass_fds=[theirs.fileno()], cwd=PROJECT_DIR
    ) as process:
        theirs.close()
        ours.settimeout(60)
        said = ours.makefile("rb")
        ready = ready_decoder.decode(said.read(message_length(said.read(LENGTH.size))))
        said.close()
        ours.close()  # nothing is asked, so it ends

    assert ready.missing_limits[-2:] == ("writing", "reading")
    assert process.returncode == 0


async def test_missing_limits_are_a_line_in_the_log(
    tmp_path: Path, start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    child = start()
    with caplog.at_level(logging.WARNING):
        child._note_ready(Ready(("writing", "reading")))

    assert "work_process_not_confined missing=writing, reading" in caplog.text


async def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(tmp_path)
    model = IsolatedModel("a" * 16, asked.model, IncidentLog("w"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    with pytest.raises(Problem) as refused:
        await model.predict(asked, None)

    assert refused.value.kind.code == "not_ready"
    assert model.pid is None


async def test_a_process_that_ends_at_its_start_is_held_against_no_model(tmp_path: Path) -> None:
    incidents = IncidentLog("w")
    model = IsolatedModel("a" * 16, ModelRef(1, str(tmp_path / "gone"), "onnx", b"{}"), incidents)

    with pytest.raises(ModelLoadError, match="can't start a process now: it ended at its start"):
        await model.load()
    with pytest.raises(Problem) as refused:
        await model.predict(Predict(model._model, "predict", {}, "1", b"", False, 1000), None)
    model.close()

    assert refused.value.kind.code == "not_ready"
    assert incidents._waiting == []


# --- work ---


async def test_one_child_answers_one_request_after_the_other(tmp_path: Path, start: Starter) -> None:
    child = start()

    assert isinstance(await child.request(Load(model_ref(tmp_path))), Loaded)
    replied = await child.request(request(tmp_path, b"a\n7\n"))

    assert replied.body == b"prediction\n7.0\n"
    assert child.is_running


async def test_rows_that_are_not_allowed_are_not_computed_and_the_child_goes_on(tmp_path: Path, start: Starter) -> None:
    child, counted = start(), []

    async def refuse(n_rows: int) -> None:
        counted.append(n_rows)
        raise Problem("quota_exhausted")

    with pytest.raises(Problem) as refused:
        await child.request(request(tmp_path, b"a\n7\n8\n", needs_approval=True), approve=refuse)
    later = await child.request(request(tmp_path, b"a\n7\n"))

    assert refused.value.kind.code == "quota_exhausted"
    assert counted == [2]
    assert b"7" in (later.body or b"")


async def test_a_fault_of_the_request_is_a_problem(tmp_path: Path, start: Starter) -> None:
    child = start()

    with pytest.raises(Problem) as refused:
        await child.request(request(tmp_path, b"a\nx\n"))

    assert refused.value.kind.code == "invalid_rows"
    assert child.is_running


async def test_a_full_disk_is_no_fault_of_the_model(tmp_path: Path, start: Starter) -> None:
    child = start(file_bytes=1_000_000)
    body, full = body_of(tmp_path), os.open("/dev/full", os.O_RDWR)

    with pytest.raises(Problem) as refused:
        await child.request(request(tmp_path), files=(body.fd, full))
    os.close(full)

    assert refused.value.kind.code == "not_ready"
    assert child.is_running


async def test_an_answer_that_is_too_long_is_refused_with_its_reason(tmp_path: Path, start: Starter) -> None:
    child = start(file_bytes=100)
    body, answer_file = body_of(tmp_path), Spool(tmp_path)

    with pytest.raises(WorkFailed, match="fewer rows"):
        await child.request(request(tmp_path), files=(body.fd, answer_file.fd))

    assert child.is_running


# --- ending ---


async def test_how_a_child_ended_is_told(tmp_path: Path, start: Starter) -> None:
    child = start()
    await child.request(Load(model_ref(tmp_path)))
    os.kill(child.pid, signal.SIGSEGV)

    with pytest.raises(ProcessEnded, match="SIGSEGV") as ended:
        await child.request(Load(model_ref(tmp_path)))

    assert ended.value.signal == signal.SIGSEGV
    assert not child.is_running


async def test_who_gives_up_waiting_ends_the_child(tmp_path: Path, start: Starter) -> None:
    child = start()
    await child.request(Load(model_ref(tmp_path)))
    os.kill(child.pid, signal.SIGSTOP)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await child.request(Load(model_ref(tmp_path)))

    assert not child.is_running


async def test_a_child_has_a_process_group_of_its_own(tmp_path: Path, start: Starter) -> None:
    """The group is killed: a model that forks leaves nothing behind."""
    child = start()
    await child.request(Load(model_ref(tmp_path)))

    assert os.getpgid(child.pid) == child.pid


async def test_a_killed_child_does_not_become_ready(start: Starter, tmp_path: Path) -> None:
    child = start()
    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ProcessNotStarted, match="SIGKILL"):
        await child.request(Load(model_ref(tmp_path)))


# --- what a child that was taken over could say ---


def replied(content_type: bytes, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "Replied", "content_type": content_type, "headers": headers, "body": b"", "size": 0}


def refused(code: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "Refused",
        "code": code,
        "detail": "",
        "errors": (),
        "headers": headers,
        "retry_after_s": None,
    }


@pytest.mark.parametrize(
    "message",
    [
        replied(b"text/csv\r\nset-cookie: a=b"),
        replied(b"text/csv", (b"x-one", b"1\n2")),
        replied(b"text/csv", (b"x-one", b"\0")),
        replied(b"text/csv", (b"x-one: 1\r\nx-two", b"2")),
        replied(b"text/csv", (b"content-length", b"0")),
        refused("malformed_body", (b"allow", b"GET\r\n")),
        refused("no_such_code"),
        {"type": "Loaded"},  # of another request
        {"type": "Ready", "missing_limits": ()},
    ],
)
def test_what_is_more_than_a_response_is_none(message: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        response_decoder(Predict).decode(msgspec.msgpack.encode(message))


@pytest.mark.parametrize(
    "response",
    [
        Replied(b"text/csv; charset=utf-8", ((b"inference-header-content-length", b"12"),), b"", 0),
        Refused("malformed_body", "", (), ((b"allow", b"GET"),), None),
    ],
)
def test_usual_headers_pass(response: Response) -> None:
    assert response_decoder(Predict).decode(encode(response)) == response


def test_a_message_without_end_is_not_waited_for() -> None:
    with pytest.raises(msgspec.DecodeError):
        message_length(LENGTH.pack(MAX_MESSAGE_BYTES + 1))
