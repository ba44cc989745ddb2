"""A registration between its two steps: what was uploaded and found, waiting for its owner to correct and save it.

It lies beside the staged file and dies with it. Only the person who made it can read it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from apimgmt.registry import model_store
from apimgmt.registry.agreement import proposed_names
from apimgmt.registry.meaning import Findings, SampleRows
from apimgmt.registry.model_store import Staged
from apimgmt.registry.registration import Prepared
from contract.model_spec import ModelSpec
from inference.signature import Signature

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


class Found(msgspec.Struct, frozen=True):
    """What the inspection found, and where each part came from. No time of a row while nobody knows the classes.

    `proposed`: names of classes that nobody has stated, by label; they stay so once a trial has taken them.
    """

    spec: ModelSpec
    signature: Signature
    sources: dict[str, str]
    findings: Findings
    owned: SampleRows
    row_us: float | None
    proposed: dict[str, str] = {}


def found_of(prepared: Prepared) -> Found:
    """What the page shows of a file that was inspected."""
    return Found(
        spec=prepared.description.spec,
        signature=prepared.signature,
        sources=prepared.description.sources,
        findings=prepared.findings,
        owned=prepared.owned,
        row_us=prepared.self_test.row_us if prepared.self_test else None,
        proposed=proposed_names(prepared.findings, prepared.description.spec.meaning),
    )


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """`found` is missing while a metadata file or sample is still refused: the upload itself need not be repeated."""

    token: str
    sha256: str
    size_bytes: int
    filename: str
    user_id: int
    workspace_id: int
    name: str
    found: Found | None = None

    @property
    def staged(self) -> Staged:
        return Staged(self.token, self.sha256, self.size_bytes)


def save_draft(draft: Draft) -> None:
    path = _path(draft.token)
    half = path.with_suffix(".part")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(draft))
    half.replace(path)


def load_draft(token: str, user_id: int) -> Draft | None:
    """None if it is not there any more, or somebody else's."""
    if not _TOKEN.fullmatch(token):
        return None
    try:
        draft = msgspec.json.decode(_path(token).read_bytes(), type=Draft)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return draft if draft.user_id == user_id and draft.staged.path.exists() else None


def forget_draft(draft: Draft) -> None:
    """Remove it with its staged file, if that was not kept."""
    _path(draft.token).unlink(missing_ok=True)
    model_store.discard(draft.staged)


def _path(token: str) -> Path:
    return model_store.staging_dir() / f"{token}.json"
