"""Which tests run one after the other on one xdist worker, and which of these groups start first.

What the tests of a group share is then made once: a live installation, a database, a trained model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_FOLDERS = {"browser": "browser", "live": "live", "clients": "live", "drills": "drills"}
"""Folders whose tests share an installation, and the name of their group."""

_APART = {"browser/test_every_page.py": "browser-every-page"}
"""Of such a folder, what has an installation of its own: it takes as long as the rest of the folder."""

_FIRST = ("live", "browser", "browser-every-page", "drills", "gateway-processes-test_live")
"""They take longest, so they must not be what the other workers wait for in the end."""

_TESTS = Path(__file__).parent


def group_of(item: pytest.Item) -> str | None:
    """A folder with one installation, else the module; a long test stands alone, so that any worker may take it."""
    path = item.path.relative_to(_TESTS)
    folder, *rest = path.parts
    if folder in _FOLDERS:
        return _APART.get(path.as_posix(), _FOLDERS[folder])
    if item.get_closest_marker("long"):
        return None
    return "-".join([folder, *rest]).removesuffix(".py")


def rank_of(item: pytest.Item) -> int:
    """Groups that take minutes first, then long tests."""
    group = group_of(item)
    if group in _FIRST:
        return _FIRST.index(group)
    return len(_FIRST) + (group is not None)
