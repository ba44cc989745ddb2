"""Models of real libraries: asked in every format, alone and in batches; or refused for their stated reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from apimgmt.actors import shell_actor
from apimgmt.models import ModelVersion, Workspace
from apimgmt.registry import model_store, registration
from apimgmt.registry.metadata import DescriptionRefused
from inference.predictor import Predictor
from inference.sandbox.child_process import result_of
from inference.sandbox.conversion_handler import ConversionHandler
from inference.sandbox.inspection import InspectionChild
from inference.sandbox.inspection_handler import RegistrationHandler
from tests.apimgmt.registry.conftest import store, workspace
from tests.inference.client import send as send_in_process
from tests.zoo import catalogue
from tests.zoo.asking import Send
from tests.zoo.comparing import check
from tests.zoo.overview import README, readme

__all__ = ["store", "workspace"]

ROWS_IN_SHORT = 9
"""Of the forty rows, for the tests that everybody runs."""


class _Unconfined:
    """Does the inspection child's work in this process: to start one for each model takes longer than its work."""

    log_tail = ""

    def __init__(self, work: str) -> None:
        self.files: list[int] = []
        handler = ConversionHandler if work == "conversion" else RegistrationHandler
        self._handler = handler(self)  # type: ignore[arg-type]  # of a channel, only its files are used here

    def request(self, request: Any, *, timeout_s: float, files: Sequence[int]) -> Any:
        self.files = list(files)
        return result_of(self._handler._respond(request))

    def close(self) -> None:
        pass


class UnconfinedChild(InspectionChild):
    def _started(self, path: Path, work: Any, *, file_bytes: int) -> Any:
        if self._process is None:
            self._process = _Unconfined(work)  # type: ignore[assignment]
        return self._process


@pytest.fixture(autouse=True)
def _unconfined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("long"):
        monkeypatch.setattr(registration, "InspectionChild", UnconfinedChild)


def registered(workspace: Workspace, name: str) -> ModelVersion:
    entry = catalogue.entry(name)
    return registration.register_model(
        workspace,
        name,
        catalogue.path_of(name),
        metadata=entry.metadata_json or b"{}",
        sample_csv=entry.sample_csv,
        confirmed=entry.confirmed,
        actor=shell_actor(None),
    ).version


def in_process(version: ModelVersion) -> Send:
    predictor = Predictor(model_store.path_of(version.sha256), version.described())

    def send(path: str, body: bytes, content_type: str) -> tuple[bytes, dict[str, str]]:
        reply = send_in_process(predictor, path.format(model="m"), body, content_type)
        return reply.body, {name.decode(): value.decode() for name, value in reply.headers}

    return send


def in_short(names: list[str]) -> list[str]:
    """Without those whose own library converts them here: importing all of them takes seconds."""
    return [name for name in names if not catalogue.entry(name).is_converted]


@pytest.mark.parametrize("name", in_short(catalogue.SERVED))
def test_it_answers_as_its_library(workspace: Workspace, store: Path, name: str) -> None:
    entry = catalogue.entry(name)
    version = registered(workspace, name)
    spec = version.described()

    assert spec.meaning is not None
    assert spec.meaning.is_row_wise == entry.is_row_wise
    check(entry, spec, in_process(version), n_rows=ROWS_IN_SHORT)


@pytest.mark.long
@pytest.mark.parametrize("name", catalogue.SERVED)
def test_it_answers_as_its_library_with_every_row_and_a_confined_child(
    workspace: Workspace, store: Path, name: str
) -> None:
    entry = catalogue.entry(name)
    version = registered(workspace, name)

    check(entry, version.described(), in_process(version), n_rows=len(entry.rows))


def test_the_overview_is_true() -> None:
    """`python -m tests.zoo.overview` writes it anew."""
    assert README.read_text(encoding="utf-8") == readme()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if catalogue.entry(name).is_converted else ())
        for name in catalogue.REFUSED
    ],
)
def test_it_is_refused_for_its_reason(workspace: Workspace, store: Path, name: str) -> None:
    refusal = catalogue.entry(name).refused
    assert refusal is not None

    with pytest.raises(DescriptionRefused) as caught:
        registered(workspace, name)

    assert (caught.value.field, caught.value.code) == (refusal.field, refusal.code), str(caught.value)
    assert bool(refusal.code) != bool(refusal.words)
    assert refusal.words in str(caught.value)
    assert not ModelVersion.objects.exists()
