"""What a file is that is no ONNX model, from its first bytes; and for a pickle, the two lines that export it.

Nothing here opens a pickle: loading one runs its author's code.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from django.utils.translation import gettext as _

from apimgmt.registry.metadata import DescriptionRefused


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
_LZ4 = b"\x04\x22\x4d\x18"


class PickleRefused(DescriptionRefused):
    """The file is a pickle, or holds one. `str()` has the two lines that export it; `filename` is its own name."""

    def __init__(self, filename: str, reason: str = "") -> None:
        self.filename = filename
        self.reason = reason or _("This is a pickle. Loading one runs code from the file, so this console takes none.")
        self.advice = _("sample.csv holds a few dozen real rows with a header. Register the two files that it writes.")
        lines = "\n".join(export_lines(filename, script=EXPORT_SCRIPT))
        super().__init__("file", ["\n".join([self.reason, _("Export it to ONNX:"), lines, self.advice])])


def export_lines(filename: str, *, script: str) -> tuple[str, str]:
    """The two lines that turn the owner's own pickle into ONNX and metadata, on his own machine."""
    return EXPORT_PACKAGES, f"python {script} {_as_argument(filename)} sample.csv"


def check_kind(path: Path, filename: str) -> None:
    """Raises `PickleRefused` or `DescriptionRefused` for a file that is no ONNX model."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise DescriptionRefused("file", [_("The file is empty.")])
    if is_pickle(head) or is_compressed_pickle(path, head):
        raise PickleRefused(filename)
    words = _archive_words(path, filename) if head.startswith(b"PK\x03\x04") else _other_words(head)
    if words is not None:
        raise DescriptionRefused("file", [words])


def is_pickle(head: bytes) -> bool:
    """Pickle, joblib without compression and cloudpickle look alike."""
    return _PICKLE.match(head) is not None or _OLD_PICKLE.match(head) is not None


def is_compressed_pickle(path: Path, head: bytes) -> bool:
    """joblib.dump(..., compress=...): unpacks a few bytes, never more."""
    if head.startswith((_LZ4, b"ZF")):  # lz4 and joblib's first format hold nothing else here
        return True
    for magic, opener in _COMPRESSED:
        if head.startswith(magic):
            try:
                with path.open("rb") as stream, opener(stream) as unpacked:
                    return is_pickle(unpacked.read(HEAD_BYTES))
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                return False
    if head[:1] == b"\x78":
        try:
            return is_pickle(zlib.decompressobj().decompress(head, HEAD_BYTES))
        except zlib.error:
            return False
    return False


def _archive_words(path: Path, filename: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return _("This is a damaged zip archive, not an ONNX model.")
    if any(name.endswith("data.pkl") for name in names):
        return _("This is a PyTorch file. Export the model with torch.onnx.export and an open number of rows.")
    if "schema.json" in names:
        raise PickleRefused(
            "model.joblib", _("This is a skops file. Load it with skops.io.load and save the model with joblib.dump.")
        )
    if "config.json" in names or any(name.endswith(".weights.h5") for name in names):
        return _("This is a Keras file. Convert the model with tf2onnx, with an open number of rows.")
    if onnx_names := [name for name in names if name.endswith(".onnx")]:
        return _("This is a zip archive. Unpack it and register the file %s in it.") % onnx_names[0]
    return _("This is a zip archive (%s), not an ONNX model.") % filename


def _other_words(head: bytes) -> str | None:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _("This is an HDF5 file (Keras). Convert the model with tf2onnx, with an open number of rows.")
    if head[4:8] == b"TFL3":
        return _("This is a TensorFlow Lite file. Convert the original model with tf2onnx.")
    if head.startswith(b"CBM1"):
        return _("This is a CatBoost file. Save it with save_model(..., format='onnx').")
    if head.startswith((b"{L", b"binf")) or (head[:1] == b"{" and b'"learner"' in head):
        return _("This is an XGBoost file. Convert the model to ONNX with onnxmltools.convert_xgboost.")
    if head.startswith(b"tree\nversion="):
        return _("This is a LightGBM file. Convert the model to ONNX with onnxmltools.convert_lightgbm.")
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF")):
        return _("This is an image or a document, not an ONNX model.")
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
    """A file name as one word of a command line."""
    name = Path(filename).name
    return name if re.fullmatch(r"[\w.+-]+", name) else '"' + name.replace('"', "") + '"'
