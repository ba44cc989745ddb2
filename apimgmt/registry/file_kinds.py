"""What a file is that is no ONNX model, from its first bytes; and for a pickle, the two lines that export it.

Nothing here opens a pickle: loading one runs its author's code.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import shlex
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from django.utils.translation import gettext as _

from apimgmt.registry.foreign_files import TAR, FileKind, kind_by_head, kind_by_names
from apimgmt.registry.metadata import DescriptionRefused
from inference.conversion.archive import opened
from inference.signature import NotServable


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


HEAD_BYTES = 4096
EXPORT_SCRIPT = "demo/export_sklearn.py"
EXPORT_PACKAGES = "pip install scikit-learn skl2onnx onnxruntime pandas"

# Protocols 2 to 5 begin with a byte 128 and their number; 0 and 1 are text that names a class in its first lines.
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_OLD_PICKLE = re.compile(rb"[(\]}]?[\]}l(dp0-9\n]*c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")
# joblib's compressors: what opens them, by their first bytes.
_COMPRESSED: tuple[tuple[bytes, Callable[[IO[bytes]], AbstractContextManager[_Readable]]], ...] = (
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"]\x00\x00", lzma.LZMAFile),
)
ZIP = b"PK\x03\x04"
_LZ4 = b"\x04\x22\x4d\x18"


class FileRefused(DescriptionRefused):
    """The file is of a kind that is known by name. `lines`: what helps, to be copied; `str()` has all of it."""

    def __init__(self, reason: str, *, lines: tuple[str, ...] = (), advice: str = "") -> None:
        self.reason = reason
        self.lines = lines
        self.advice = advice
        super().__init__("file", ["\n".join(part for part in (reason, *lines, advice) if part)])


class PickleRefused(FileRefused):
    """The file is a pickle, or holds one. `filename` is its own name."""

    def __init__(self, filename: str, reason: str = "") -> None:
        self.filename = filename
        self.kind = reason or _("This is a pickle. Loading one runs code from the file, so this console takes none.")
        super().__init__(
            " ".join([self.kind, _("Export it to ONNX on your own machine, with these two lines:")]),
            lines=export_lines(filename, script=EXPORT_SCRIPT),
            advice=_("sample.csv holds a few dozen real rows with a header. Register the two files that it writes."),
        )


def export_lines(filename: str, *, script: str) -> tuple[str, str]:
    """The two lines that turn a pickle into ONNX and metadata, on its owner's machine."""
    return EXPORT_PACKAGES, f"python {script} {_as_argument(filename)} sample.csv"


def check_kind(path: Path, filename: str) -> None:
    """Raises `FileRefused` or `DescriptionRefused` for a file that is no ONNX model."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise DescriptionRefused("file", [_("The file is empty.")])
    if head.startswith(ZIP):
        raise _archive_refused(path, filename)
    if kind := kind_by_head(head, filename):
        raise _refused(kind, filename)
    if is_pickle(head) or is_compressed_pickle(path, head):
        raise PickleRefused(filename)
    if (unpacked := _unpacked_head(path, head)) is not None:
        raise _compressed_refused(unpacked, filename)
    if words := _other_words(head):
        raise FileRefused(words)


def _refused(kind: FileKind, filename: str) -> FileRefused:
    name = Path(filename).name
    inside_quotes = name if re.fullmatch(r"[\w.+-]+", name) else "FILE"
    lines = tuple(
        line.replace("{file}", _as_argument(filename)).replace("{name}", inside_quotes) for line in kind.lines
    )
    return FileRefused(" ".join(filter(None, [str(kind.words), str(kind.advice)])), lines=lines)


def is_pickle(head: bytes) -> bool:
    """Pickle, joblib without compression and cloudpickle look alike."""
    return _PICKLE.match(head) is not None or _OLD_PICKLE.match(head) is not None


def is_compressed_pickle(path: Path, head: bytes) -> bool:
    """joblib.dump(..., compress=...): unpacks a few bytes, never more."""
    if head.startswith((_LZ4, b"ZF")):  # lz4 and joblib's first format hold nothing else here
        return True
    unpacked = _unpacked_head(path, head)
    if unpacked is None and head[:1] == b"\x78":  # zlib has no mark of its own: text may begin so
        with contextlib.suppress(zlib.error):
            unpacked = zlib.decompressobj().decompress(head, HEAD_BYTES)
    return unpacked is not None and is_pickle(unpacked)


def _unpacked_head(path: Path, head: bytes) -> bytes | None:
    """The first bytes of what a compressed file holds; None where it is not compressed, or damaged."""
    for magic, opener in _COMPRESSED:
        if head.startswith(magic):
            try:
                with path.open("rb") as stream, opener(stream) as unpacked:
                    return unpacked.read(HEAD_BYTES)
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                return None
    return None


def _compressed_refused(unpacked: bytes, filename: str) -> FileRefused:
    """Named for what is in it, where that is no model either."""
    kind = kind_by_head(unpacked, "")
    if kind is not None and kind is not TAR:
        return _refused(kind, filename)
    program = {"gz": "gunzip", "tgz": "tar -xzf", "bz2": "bunzip2", "xz": "unxz"}
    ending = filename.lower().rpartition(".")[2]
    command = "tar -xf" if kind is TAR else program.get(ending, "gunzip")
    return FileRefused(
        _("This is a compressed file. Unpack it and register the model file in it:"),
        lines=(f"{command} {_as_argument(filename)}",),
    )


def names_in(path: Path) -> list[str]:
    """Raises `NotServable` for a list that is damaged, or longer than any model's."""
    with opened(path) as archive:
        return archive.namelist()


def _archive_refused(path: Path, filename: str) -> FileRefused:
    try:
        names = names_in(path)
    except NotServable as refusal:
        return FileRefused(str(refusal))
    if kind := kind_by_names(names):
        return _refused(kind, filename)
    return FileRefused(_("This is a zip archive (%s), not an ONNX model.") % filename)


def _other_words(head: bytes) -> str | None:
    if head.lstrip()[:1] in {b"{", b"["}:
        return _("This is a JSON file, not an ONNX model. A metadata file goes beside the model, not in its place.")
    if _is_text(head):
        return _("This is a text file, not an ONNX model.")
    return None


def _is_text(head: bytes) -> bool:
    """Printable throughout. An ONNX file has control characters within its first bytes: its version is one."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def _as_argument(filename: str) -> str:
    """A file name as one word of a shell's command line: nothing in it is run."""
    return shlex.quote(Path(filename).name)
