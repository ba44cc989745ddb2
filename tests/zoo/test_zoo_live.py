"""The zoo over HTTP: registered by the command, built by a real worker, answered by a real gateway, every row.

The tests share an installation and come in any order: each registers and launches its own entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management.base import CommandError

from apimgmt.actors import shell_actor
from apimgmt.lifecycle.services import delete_api, stop_api
from apimgmt.management.base import wait_until_confirmed
from apimgmt.models import Model, Status
from contract.model_spec import ModelSpec
from runtime import processes
from tests.live.conftest import EVERYBODY, LiveApi, command
from tests.stack import Stack
from tests.zoo import catalogue
from tests.zoo.asking import Send
from tests.zoo.comparing import check

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("zoo-live")]

_SECONDS_TO_END = 60


class LiveZoo:
    """Entries of the zoo on one installation. `end` takes them off it again."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self._folder = folder
        self._launched: list[str] = []

    def operating(self, name: str) -> LiveApi:
        """Its API, registered and launched anew, once every gateway worker serves it. Raises `CommandError`."""
        told = self.register(name)
        model_id = told["model_id"]
        api = command(self.stack, "launch_api", str(model_id), "--type", "official", "--allow", EVERYBODY)
        self._launched.append(api["api_id"])
        with self.stack.orm():
            wait_until_confirmed(api["api_id"], after_build_id=0)
        return LiveApi(self.stack, api["api_id"], api["api_url"], api["api_key"], told["sample"], model_id, name)

    def register(self, name: str) -> dict[str, Any]:
        """What `register_model` prints. The file beside a model is the zoo's own, so metadata are always named."""
        entry = catalogue.entry(name)
        metadata, sample = self._folder / f"{name}.json", self._folder / f"{name}.csv"
        metadata.write_bytes(entry.metadata_json or b"{}")
        sample.write_bytes(entry.sample_csv)
        confirmed = [word for code in entry.confirmed for word in ("--confirm", code)]
        return command(
            self.stack, "register_model", str(catalogue.path_of(name)), "--name", f"zoo {name}", "--workspace", "Demo",
            "--metadata", str(metadata), "--sample", str(sample), *confirmed,
        )  # fmt: skip

    def spec(self, api: LiveApi) -> ModelSpec:
        """What the version that is served is described as."""
        with self.stack.orm():
            return Model.objects.get(pk=api.model_id).versions.get().described()

    def is_registered(self, name: str) -> bool:
        with self.stack.orm():
            return Model.objects.filter(name=f"zoo {name}").exists()

    def end(self) -> None:
        """Give the gateway's memory and the workspace's options back."""
        for action, target in ((stop_api, Status.STOPPED), (delete_api, Status.DELETED)):
            with self.stack.orm():
                for api_id in self._launched:
                    action(api_id, actor=shell_actor(None))
            assert processes.wait_until(partial(self._are_all, target), _SECONDS_TO_END), f"not all are {target}"

    def _are_all(self, status: Status) -> bool:
        query = "SELECT count(*) FROM apimgmt_predictionapi WHERE id = ANY(%s) AND status <> %s"
        return self.stack.psql(query, [self._launched, status.value]) == [(0,)]


@pytest.fixture(scope="module")
def zoo(shared_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveZoo]:
    shared_stack.demo()
    shared_stack.psql("UPDATE apimgmt_workspace SET api_options = 1000 WHERE name = 'Demo'")
    shared_stack.start("gateway", "worker", "beat")
    live = LiveZoo(shared_stack, tmp_path_factory.mktemp("zoo"))
    yield live
    live.end()


def over_http(api: LiveApi, connection: HTTPConnection) -> Send:
    """Sends over one connection that is kept; http.client, as it costs least beside some hundred answers a test."""

    def send(path: str, body: bytes, content_type: str) -> tuple[bytes, dict[str, str]]:
        target = f"{urlsplit(api.base).path}/{path.format(model=api.id)}"
        connection.request("POST", target, body, {"x-api-key": api.key, "content-type": content_type})
        reply = connection.getresponse()
        content = reply.read()
        assert reply.status == 200, f"{target}: {reply.status} {content.decode(errors='replace')}"
        return content, {key.lower(): value for key, value in reply.getheaders()}

    return send


@pytest.mark.parametrize("name", catalogue.SERVED)
def test_it_answers_as_its_library_over_http(zoo: LiveZoo, name: str) -> None:
    entry = catalogue.entry(name)
    api = zoo.operating(name)
    spec = zoo.spec(api)

    assert list(api.sample) == [column.name for column in spec.columns]
    with closing(HTTPConnection(urlsplit(api.base).netloc, timeout=30)) as connection:
        check(entry, spec, over_http(api, connection), n_rows=len(entry.rows))


@pytest.mark.parametrize("name", catalogue.REFUSED)
def test_the_command_refuses_it_and_keeps_nothing(zoo: LiveZoo, name: str) -> None:
    refusal = catalogue.entry(name).refused
    assert refusal is not None

    with pytest.raises(CommandError) as caught:
        zoo.register(name)

    assert refusal.words in str(caught.value)

    assert not zoo.is_registered(name)
