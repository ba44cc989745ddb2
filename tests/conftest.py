"""Fixtures that tests of several packages share. The environment is set by `tests.environment`, before this is read."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from inference.predictor import Predictor
from runtime.testing import find_browser
from tests import stack as stacks
from tests.environment import broker_database, clean_variables
from tests.grouping import group_of, rank_of
from tests.model_files import Made
from tests.stack import Stack, fresh_variables

_log_starts: dict[Path, int] = {}


Load = Callable[[Made], Predictor]


def pytest_configure(config: pytest.Config) -> None:
    stacks.pytest_config = config


def pytest_itemcollected(item: pytest.Item) -> None:
    group = group_of(item)
    if group is not None:
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=rank_of)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """The console's listening thread ends when nobody waits: soon, but perhaps not before the test's database goes."""
    for thread in threading.enumerate():
        if thread.name == "progress":
            thread.join(5)


def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A module may name the loop its tests run on as its `new_event_loop`."""
    return {"loop": getattr(item.module, "new_event_loop", asyncio.new_event_loop)}


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads what `model_files` makes; each file once."""
    store = tmp_path_factory.mktemp("models")
    loaded: dict[tuple[str, str], Predictor] = {}

    def load_made(made: Made) -> Predictor:
        spec, content = made
        key = (repr(spec), hashlib.sha256(content).hexdigest())
        if key not in loaded:
            path = Path(store / key[1])
            path.write_bytes(content)
            loaded[key] = Predictor(path, spec)
        return loaded[key]

    return load_made


@pytest.fixture(scope="session")
def stack_template() -> Iterator[str]:
    """The name of a migrated database that others are copied from."""
    template = Stack(dict(os.environ))
    yield template.database
    template.close()


@pytest.fixture(scope="session")
def shared_stack(stack_template: str) -> Iterator[Stack]:
    installation = Stack(dict(os.environ), template=stack_template)
    yield installation
    installation.close()


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """This worker's live installation; only what earlier tests have started runs in it. See `tests/stack.py`."""
    return shared_stack


@pytest.fixture
def own_stack(stack_template: str, tmp_path: Path) -> Iterator[Stack]:
    """A fresh installation for this test alone: for what would disturb others."""
    url = broker_database(1)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    variables = fresh_variables(clean_variables(), tmp_path / "var") | {"REDIS_URL": url}
    installation = Stack(variables, template=stack_template)
    yield installation
    installation.close()


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """How pytest-playwright starts the browser: the Chromium of this machine, which `make test` installs if it can."""
    path = find_browser()
    if path is None:
        pytest.fail("no Chromium found: install `chromium-headless-shell` or `chromium`, or name a program in CHROMIUM")
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    return {"executable_path": path, "args": ["--no-sandbox", "--disable-sync", *quiet.split()]}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Playwright leaves its event loop marked as running in this thread: hidden from tests that have no browser,
    else asyncio refuses to run theirs, and Django its database."""
    loop = asyncio._get_running_loop()
    if "playwright" in getattr(item, "fixturenames", ()):
        return (yield)
    asyncio._set_running_loop(None)
    try:
        return (yield)
    finally:
        asyncio._set_running_loop(loop)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _log_starts.clear()
    for service in _services():
        if service.log_path.exists():
            _log_starts[service.log_path] = service.log_path.stat().st_size


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failing test shows what the processes of the installations wrote while it ran."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for service in _services():
            written = service.log(_log_starts.get(service.log_path, 0))
            if written:
                report.sections.append((f"log of {service.name}", "\n".join(written.splitlines()[-60:])))


def _services() -> list[stacks.Service]:
    return [service for installation in stacks.live_stacks for service in installation.services.values()]
