"""One ground for the drills of an xdist worker: servers that may be killed, and a finished installation to copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.testbed import Ground


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("drills"))
    try:
        made.start()
        yield made
    finally:
        made.stop()
