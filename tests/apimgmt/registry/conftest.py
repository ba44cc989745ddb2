"""A model store of its own for each test, and people who may or may not register."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as django_settings

from apimgmt.models import Workspace
from tests.apimgmt.registry.model_owner import Owner, load_script
from tests.factories import make_workspace


@pytest.fixture
def store(tmp_path: Path, settings: Any) -> Path:
    """The folder of the model store, empty."""
    settings.ENVIRONMENT = replace(django_settings.ENVIRONMENT, var_dir=tmp_path / "var")
    return settings.ENVIRONMENT.model_store_dir


@pytest.fixture
def workspace(db: None) -> Workspace:
    return make_workspace()


def stored_files(store: Path) -> list[str]:
    """Names of all files in the store, staged ones included."""
    return sorted(path.name for path in store.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def script() -> ModuleType:
    return load_script()


@pytest.fixture
def owner(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Owner:
    monkeypatch.chdir(tmp_path)
    return Owner(script, tmp_path, capsys)
