"""The model store: artefacts under their own sha256, written once, read by every gateway worker.

A file is first *staged*: copied in, measured and hashed, so that what is inspected is what will be kept. Keeping it is
one rename within the same file system; a reader sees the whole file or none.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from apimgmt.errors import Refused
from apimgmt.sentences import Message, message, sentence
from contract.model_store import stored_path

# An inspection may take six times this in memory; usual table models are far below 10 MB.
MAX_MODEL_BYTES = 256 * 1024 * 1024
STAGED_FOR_S = 3600
CHUNK_BYTES = 1 << 20


class FileDamaged(Exception):
    """The stored bytes are gone, or no longer those that were registered. `message` says which."""

    def __init__(self, message: Message) -> None:
        super().__init__(sentence(message))
        self.message = message


class FileTooLarge(Refused):
    """More than `MAX_MODEL_BYTES`; nothing was kept."""

    status = 413


@dataclass(frozen=True)
class Staged:
    """A copy that waits to be kept or discarded. `token` is unguessable."""

    token: str
    sha256: str
    size_bytes: int

    @property
    def path(self) -> Path:
        return staging_dir() / self.token


def path_of(sha256: str) -> Path:
    """Where the bytes of this digest lie, whether or not they are there."""
    return stored_path(settings.ENVIRONMENT.model_store_dir, sha256)


def verify(sha256: str) -> None:
    """Read the stored bytes whole and compare them with their name. Raises `FileDamaged`."""
    try:
        with path_of(sha256).open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileDamaged(message("file_missing", cause=error.strerror)) from None
    if actual != sha256:
        raise FileDamaged(message("file_changed"))


def restage(staged: Staged, write: Callable[[int], None]) -> Staged:
    """In place of a staged file, what `write` makes of it: into the open file of that number. The first one is gone."""
    token = secrets.token_urlsafe(24)
    path = staging_dir() / token
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b") as file:
            write(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        discard(staged)
    return Staged(token, digest, path.stat().st_size)


def stage(chunks: Iterable[bytes]) -> Staged:
    """Copy a file in. Raises `FileTooLarge`, and leaves nothing behind if anything goes wrong."""
    forget_old_stagings()
    token = secrets.token_urlsafe(24)
    path = staging_dir() / token
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > MAX_MODEL_BYTES:
                    raise FileTooLarge(
                        _("The file is larger than %s, the most this console takes.") % filesizeformat(MAX_MODEL_BYTES)
                    )
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Staged(token, digest.hexdigest(), size)


def chunks_of(path: Path) -> Iterable[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def keep(staged: Staged) -> Path:
    """Move a staged file to its place. A file that is there already is replaced by the same bytes."""
    path = path_of(staged.sha256)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    staged.path.rename(path)
    for folder in (path.parent, path.parent.parent):
        _sync_folder(folder)
    return path


def discard(staged: Staged) -> None:
    """Forget a staged file, if it is still there."""
    staged.path.unlink(missing_ok=True)


def forget_old_stagings() -> None:
    """Remove what somebody uploaded and never saved."""
    limit = time.time() - STAGED_FOR_S
    for path in staging_dir().iterdir():
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except FileNotFoundError:
            continue  # kept or discarded meanwhile


def staging_dir() -> Path:
    store: Path = settings.ENVIRONMENT.model_store_dir
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = store / "staging"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _sync_folder(folder: Path) -> None:
    """A rename is only durable once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
