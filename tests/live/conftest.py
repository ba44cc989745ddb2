"""What the live tests share: an installation with the demo data, and callers of its APIs."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.stack import Stack

EVERYBODY = "0.0.0.0/0"


@dataclass
class LiveApi:
    """One launched API of a live installation."""

    stack: Stack
    id: str
    url: str
    key: str
    sample: dict[str, Any]
    model_id: int
    stem: str

    @property
    def base(self) -> str:
        """The address that all request formats stand below."""
        return self.url.removesuffix("/predict")

    def call(self, **options: Any) -> httpx.Response:
        """One prediction request with the sample row; `options` go to httpx."""
        headers = {"x-api-key": self.key} | options.pop("headers", {})
        body = {"json": {"rows": [self.sample]}} if not {"json", "content"} & set(options) else {}
        return httpx.post(self.url, headers=headers, timeout=10, **(body | options))

    def do(self, action: str, *arguments: str, wait: bool = True, check: bool = True) -> dict[str, Any]:
        """`manage.py api ACTION`, as JSON; a refusal as `{"error": ...}` unless `check`."""
        try:
            return command(self.stack, "api", action, self.id, *arguments, *(["--wait"] if wait else []))
        except CommandError as error:
            if check:
                raise
            return {"error": str(error)}

    def status(self) -> dict[str, Any]:
        return self.do("status", wait=False)


@pytest.fixture
def running(stack: Stack) -> Stack:
    """An installation with the demo data and everything but the console running, whatever the test before killed."""
    stack.demo()
    stack.psql("UPDATE apimgmt_workspace SET api_options = 1000 WHERE name = 'Demo'")
    return stack.start("gateway", "worker", "beat")


def command(stack: Stack, *words: str) -> dict[str, Any]:
    """A management command on that installation, in this process: a second of starting Django saved each time."""
    output = io.StringIO()
    with stack.orm():
        call_command(*words, "--json", stdout=output, stderr=io.StringIO())
    return json.loads(output.getvalue())


def register(stack: Stack, name: str, *, stem: str = "penguins") -> dict[str, Any]:
    return command(stack, "register_model", f"demo/models/{stem}.onnx", "--name", name, "--workspace", "Demo")


@pytest.fixture
def launch(running: Stack, request: pytest.FixtureRequest):
    """Register a model of the test's own and launch it: `launch()`, `launch(type="official", stem="diabetes")`."""
    count = itertools.count(1)

    def make(*, type: str = "trial", stem: str = "penguins", allow: str = EVERYBODY, wait: bool = True) -> LiveApi:
        model = register(running, f"{request.node.name[:80]} {next(count)}", stem=stem)
        words = ["launch_api", str(model["model_id"]), "--type", type, "--allow", allow]
        told = command(running, *words, *(["--wait"] if wait else []))
        return LiveApi(
            running, told["api_id"], told["api_url"], told["api_key"], model["sample"], model["model_id"], stem
        )

    return make
