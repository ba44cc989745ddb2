"""Fixtures for the gateway's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.predictor import Predictor
from tests.gateway.model_files import Made

Load = Callable[[Made], Predictor]


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
