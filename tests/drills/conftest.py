"""One ground for the drills of an xdist worker: servers that may be killed, and a finished installation to copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.testbed import Testbed


@pytest.fixture(scope="session")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    made = Testbed(tmp_path_factory.mktemp("drills"))
    try:
        made.start()
        yield made
    finally:
        made.stop()
