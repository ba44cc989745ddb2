"""The description of each demo API, checked by tools nobody here wrote, and the calls it offers, run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contract.model_spec import ModelSpec, spec_from_json
from contract.settings import PROJECT_DIR
from inference.formats.description.snippets import snippets
from tests.live.conftest import LiveApi
from tests.live.test_life import until

pytestmark = pytest.mark.timeout(900)  # the first one makes the clients' environment


def spec_of(api: LiveApi) -> ModelSpec:
    document = json.loads((PROJECT_DIR / f"demo/models/{api.stem}.json").read_text())
    return spec_from_json({"input": "columns"} | document)


def test_the_openapi_document_is_valid(api: LiveApi, clients_bin: Path, tmp_path: Path) -> None:
    reply = httpx.get(f"{api.base}/openapi.json", headers={"x-api-key": api.key})
    path = tmp_path / "openapi.json"
    path.write_bytes(reply.content)

    done = subprocess.run(
        [clients_bin / "openapi-spec-validator", path], capture_output=True, text=True, check=False, timeout=60
    )

    assert (reply.status_code, done.returncode) == (200, 0), done.stdout + done.stderr
    row = reply.json()["components"]["schemas"]["Row"]
    assert list(row["properties"]) == [column.name for column in spec_of(api).columns]
    assert row["examples"] == [api.sample]


@pytest.mark.long
def test_schemathesis_finds_no_undocumented_status_and_no_5xx(
    launch: Callable[..., LiveApi], clients_bin: Path, tmp_path: Path
) -> None:
    api = launch(type="official")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

    done = subprocess.run(
        [
            *(clients_bin / "schemathesis", "run", f"{api.base}/openapi.json"),
            *("--header", f"x-api-key: {api.key}", "--checks", checks, "--max-examples", "15"),
            *("--phases", "examples,coverage,fuzzing", "--no-color", "--seed", "1", "--workers", "1"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert until(lambda: api.status()["requests"]["4xx"] > 0)
    assert api.status()["requests"]["5xx"] == 0


@pytest.mark.parametrize("name", ["curl", "python", "javascript"])
def test_the_calls_to_copy_run(api: LiveApi, name: str) -> None:
    call = {call.name: call.text for call in snippets(api.url, spec_of(api))}[name]
    commands = {
        "curl": ["sh", "-c", f"{call} -s"],
        "python": ["python3", "-c", call],
        "javascript": ["node", "-e", call],
    }

    done = subprocess.run(
        commands[name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], "API_KEY": api.key},
    )

    assert done.returncode == 0, done.stderr
    assert "predictions" in done.stdout
    if name != "python":
        assert json.loads(done.stdout) == api.call().json()
