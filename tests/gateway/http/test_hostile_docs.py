"""docs/hostile-clients.md names a test for each row; each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_row_names_a_test_that_exists() -> None:
    lines = (ROOT / "docs" / "hostile-clients.md").read_text().splitlines()
    rows = [line for line in lines if line.count("|") == 5 and not line.startswith(("|---", "| behaviour"))]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    named = {line: re.findall(r"`(test_\w+)`", line) for line in rows}

    assert len(rows) > 30
    assert [line for line, names in named.items() if not names and "drill `" not in line] == []
    assert [name for names in named.values() for name in names if f"def {name}(" not in tests] == []
