"""Where the model store keeps a file: under its own sha256. One rule for whoever writes, reads or drills it."""

from __future__ import annotations

from pathlib import Path


def stored_path(store_dir: Path, sha256: str) -> Path:
    """`store/ab/abcdef…`, whether or not the bytes are there."""
    return store_dir / sha256[:2] / sha256
