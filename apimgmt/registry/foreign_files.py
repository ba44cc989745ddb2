"""Kinds of files that are no model this console can take: how each is known, what is in the way, what helps.

One row a kind. They are known by their first bytes, or by the names in an archive; the ending of the file name decides
only where the bytes can't. Nothing here is opened by the library it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Names = Sequence[str]
"""The names in a zip archive."""


@dataclass(frozen=True)
class FileKind:
    """`words`: what it is and what is in the way. `lines`: what to run or write, with the uploaded file's name in it.

    `{file}` is that name as one argument of a shell, `{name}` the same inside quotes.
    """

    words: str | Promise
    lines: tuple[str, ...] = ()
    advice: str | Promise = ""


@dataclass(frozen=True)
class _ByHead(FileKind):
    """Known by its first bytes: `is_it(head, file name in lower case)`."""

    is_it: Callable[[bytes, str], bool] = lambda head, name: False


@dataclass(frozen=True)
class _ByNames(FileKind):
    """A zip archive, known by what is in it."""

    is_it: Callable[[Names], bool] = lambda names: False


def begins(*magics: bytes, at: int = 0) -> Callable[[bytes, str], bool]:
    """The bytes that the file has at that place."""
    return lambda head, name: head.startswith(magics, at)


def matches(pattern: bytes) -> Callable[[bytes, str], bool]:
    """A pattern for the beginning, whatever blanks and byte order mark stand before it."""
    compiled = re.compile(rb"(?:\xef\xbb\xbf)?\s*" + pattern, re.DOTALL | re.IGNORECASE)
    return lambda head, name: compiled.match(head) is not None


def ends(*endings: str) -> Callable[[Names], bool]:
    """One of the names in the archive ends so."""
    return lambda names: any(name.endswith(endings) for name in names)


def _is_safetensors(head: bytes, name: str) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and 1 < int.from_bytes(head[:8], "little") < 1 << 32


def _is_core_ml(head: bytes, name: str) -> bool:
    """Its first bytes are those of any Protocol Buffers message, ONNX's too."""
    return name.endswith(".mlmodel") and head[:1] == b"\x08"


def _is_saved_model(head: bytes, name: str) -> bool:
    return name.endswith("saved_model.pb")


_TORCH_LINES: Final = (
    "pip install torch onnx onnxscript",
    'torch.onnx.export(model.eval(), (example,), "model.onnx", dynamic_shapes=({0: "rows"},))',
)
_KERAS_LINES: Final = (
    'pip install "keras>=3.8" tensorflow tf2onnx onnx',
    "python -c \"import keras; keras.saving.load_model('{name}').export('model.onnx', format='onnx')\"",
)
_SAVED_MODEL_LINES: Final = (
    "pip install tensorflow tf2onnx",
    "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
)
_TO_CSV: Final = _("It holds a table, not a model. If it is your sample, save it as CSV and choose it as the sample.")
_NO_CONVERTER: Final = _(
    "No converter to ONNX is known to be reliable. Export the model again where it was trained, with its own library."
)

TAR: Final = _ByHead(
    _("This is a tar archive. Unpack it and register the model file in it:"),
    ("tar -xf {file}",),
    is_it=begins(b"ustar", at=257),
)

BY_HEAD: Final = (
    _ByHead(
        _("This is a pointer of Git LFS, not the file itself: the repository was cloned without its large files."),
        ("git lfs install", "git lfs pull"),
        is_it=begins(b"version https://git-lfs"),
    ),
    _ByHead(
        _("This is a web page, not a model: the download ended at a page for people, such as a log-in."),
        is_it=matches(rb"<(?:!doctype\s+html|html)"),
    ),
    _ByHead(
        _("This is a PMML file."),
        advice=_NO_CONVERTER,
        is_it=matches(rb"<(?:\?xml[^>]*>\s*(?:<!--.*?-->\s*)?<)?PMML\b"),
    ),
    _ByHead(
        _("This is an OpenVINO file. OpenVINO reads ONNX but writes none: register the model it was converted from."),
        is_it=matches(rb"<(?:\?xml[^>]*>\s*<)?net\s[^>]*\bname="),
    ),
    _ByHead(_("This is an XML file, not a model that this console can read."), is_it=matches(rb"<\?xml")),
    _ByHead(
        _("This is a safetensors file: weights alone, without the computation that uses them. Load them and export:"),
        ('model.load_state_dict(safetensors.torch.load_file("{name}"))', _TORCH_LINES[1]),
        is_it=_is_safetensors,
    ),
    _ByHead(
        _("This is a GGUF or GGML file, a language model for llama.cpp. This console serves models of tables."),
        is_it=begins(b"GGUF", b"lmgg", b"tjgg", b"fmgg"),
    ),
    _ByHead(
        _("This is a Core ML file. It can't be turned back: export the model again where it was trained."),
        is_it=_is_core_ml,
    ),
    _ByHead(
        _("This is a TensorFlow Lite file. Convert it with tf2onnx:"),
        ("pip install tensorflow tf2onnx", "python -m tf2onnx.convert --tflite {file} --output model.onnx"),
        is_it=begins(b"TFL3", at=4),
    ),
    _ByHead(
        _("This is a file of TensorFlow's SavedModel format. Convert the folder it lies in with tf2onnx:"),
        _SAVED_MODEL_LINES,
        is_it=_is_saved_model,
    ),
    _ByHead(
        _("This is an HDF5 file, as Keras writes. Export the model with an open number of rows:"),
        _KERAS_LINES,
        is_it=begins(b"\x89HDF\r\n\x1a\n"),
    ),
    _ByHead(
        _("This is a PyTorch file: it is a pickle, which holds code. Export the model with an open number of rows:"),
        _TORCH_LINES,
        is_it=begins(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9"),  # torch.save before version 1.6: its magic number, pickled
    ),
    _ByHead(
        _("This is an ExecuTorch file. Export the model it was made from, with an open number of rows:"),
        _TORCH_LINES,
        is_it=matches(rb".{4}ET\d\d"),
    ),
    _ByHead(
        _("This is an ONNX Runtime file (.ort), bound to one version. Register the ONNX file that it was made from."),
        is_it=begins(b"ORTM", at=4),
    ),
    _ByHead(
        _("This is a TensorRT engine, built for one graphics card. Register the ONNX file it was built from."),
        is_it=begins(b"ftrt", b"ptrt"),
    ),
    _ByHead(
        _("This is an MXNet file: weights without the computation."),
        advice=_NO_CONVERTER,
        is_it=begins(b"\x12\x01\x00\x00\x00\x00\x00\x00"),
    ),
    _ByHead(
        _("This is a fastText file, a model of texts. This console serves models of tables."),
        is_it=begins(b"\xba\x16\x4f\x2f"),
    ),
    _ByHead(
        _("This is an R file. Save the booster in it with its own library, or export the model to ONNX:"),
        ('xgboost::xgb.save(model, "model.ubj")', 'lightgbm::lgb.save(model, "model.txt")'),
        is_it=begins(b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"X\n\x00\x00\x00"),
    ),
    _ByHead(
        _("This is a NumPy array, not a model. If it is your sample, save it as CSV and choose it as the sample:"),
        (
            "import numpy as np",
            'np.savetxt("sample.csv", np.load("{name}"), delimiter=",", header="a,b,c", comments="")',
        ),
        is_it=begins(b"\x93NUMPY"),
    ),
    _ByHead(
        _("This is a Parquet file."),
        lines=(
            "pip install pandas pyarrow",
            "python -c \"import pandas; pandas.read_parquet('{name}').to_csv('sample.csv', index=False)\"",
        ),
        advice=_TO_CSV,
        is_it=begins(b"PAR1"),
    ),
    _ByHead(
        _("This is an Arrow or Feather file."),
        lines=(
            "pip install pandas pyarrow",
            "python -c \"import pandas; pandas.read_feather('{name}').to_csv('sample.csv', index=False)\"",
        ),
        advice=_TO_CSV,
        is_it=begins(b"ARROW1", b"FEA1"),
    ),
    _ByHead(_("This is a MATLAB file."), is_it=begins(b"MATLAB "), advice=_NO_CONVERTER),
    _ByHead(_("This is an SQLite database, not a model."), is_it=begins(b"SQLite format 3\x00")),
    _ByHead(_("This is a program, not a model."), is_it=begins(b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"#!")),
    _ByHead(
        _("This is an image or a document, not a model."),
        is_it=begins(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"\xd0\xcf\x11\xe0", b"{\\rtf"),
    ),
    TAR,
    _ByHead(
        _("This is a compressed file. Unpack it and register the file in it:"),
        ("zstd -d {file}",),
        is_it=begins(b"\x28\xb5\x2f\xfd"),
    ),
    _ByHead(
        _("This is a 7z or RAR archive. Unpack it and register the model file in it."),
        is_it=begins(b"7z\xbc\xaf\x27\x1c", b"Rar!"),
    ),
    _ByHead(
        _("This is an ONNX model written as JSON. Save it in ONNX's own form:"),
        ("import onnx", 'onnx.save(onnx.load("{name}", format="json"), "model.onnx")'),
        is_it=matches(rb'\{\s*"irVersion"'),
    ),
    _ByHead(
        _("This is an ONNX model written as text. Save it in ONNX's own form:"),
        ("import onnx", 'onnx.save(onnx.load("{name}", format="textproto"), "model.onnx")'),
        is_it=matches(rb"ir_version\s*:"),
    ),
    _ByHead(
        _("This is a notebook, not a model. Run it, and register the file that it saves."),
        is_it=matches(rb'\{\s*"(?:cells|nbformat|metadata"\s*:\s*\{\s*"kernelspec)"'),
    ),
    _ByHead(
        _("This is an XGBoost file of the old binary form. Save the model in one of its own formats:"),
        ('booster.save_model("model.ubj")',),
        is_it=begins(b"binf"),
    ),
    _ByHead(
        _("This is a CatBoost model written as JSON. Save it in CatBoost's own form:"),
        ('model.load_model("{name}", format="json")', 'model.save_model("model.cbm")'),
        is_it=matches(rb'\{\s*"(?:features_info|model_info|oblivious_trees|ctr_data)"'),
    ),
    _ByHead(
        _("This is a LightGBM model written as JSON, which LightGBM itself can't read. Save it as text:"),
        ('booster.save_model("model.txt")',),
        is_it=matches(rb'\{\s*"name"\s*:\s*"tree"'),
    ),
    _ByHead(
        _("This is a LIBSVM file."),
        advice=_NO_CONVERTER,
        is_it=matches(rb"svm_type\s"),
    ),
)

BY_NAMES: Final = (
    _ByNames(
        _("This is a package of Core ML. It can't be turned back: export the model again where it was trained."),
        is_it=ends(".mlmodel"),
    ),
    _ByNames(
        _("This is a program of torch.export. Export the model to ONNX, with an open number of rows:"),
        _TORCH_LINES,
        is_it=lambda names: any(name.endswith("archive_format") for name in names),
    ),
    _ByNames(
        _("This is a PyTorch file. Export the model with an open number of rows:"),
        _TORCH_LINES,
        is_it=ends("data.pkl"),
    ),
    _ByNames(
        _("This is a Keras file. Export the model with an open number of rows:"),
        _KERAS_LINES,
        is_it=lambda names: "config.json" in names or ends(".weights.h5")(names),
    ),
    _ByNames(
        _("This is a SavedModel of TensorFlow. Unpack it and convert the folder with tf2onnx:"),
        _SAVED_MODEL_LINES,
        is_it=ends("saved_model.pb"),
    ),
    _ByNames(_("This is an H2O MOJO."), is_it=ends("model.ini"), advice=_NO_CONVERTER),
    _ByNames(
        _("These are NumPy arrays, not a model. If they are your sample, save it as CSV and choose it as the sample."),
        is_it=ends(".npy"),
    ),
    _ByNames(
        _("This is an Office document."),
        advice=_TO_CSV,
        is_it=lambda names: "[Content_Types].xml" in names or "mimetype" in names,
    ),
    _ByNames(
        _("This is a Spark ML model."),
        advice=_NO_CONVERTER,
        is_it=lambda names: any("metadata/part-0" in name for name in names),
    ),
    _ByNames(_("This is a Java archive, not a model."), is_it=ends("META-INF/MANIFEST.MF")),
)


def kind_by_head(head: bytes, filename: str) -> FileKind | None:
    """`head`: the first bytes of the file, or of what a compressed file holds."""
    name = filename.lower()
    return next((kind for kind in BY_HEAD if kind.is_it(head, name)), None)


def kind_by_names(names: Names) -> FileKind | None:
    """`names`: those in a zip archive."""
    return next((kind for kind in BY_NAMES if kind.is_it(names)), None)
