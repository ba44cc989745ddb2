"""What ONNX Runtime says of a file that it can't load, in plain words: what is in the way, and what helps.

Its sentences are understood whole, before anything is cut: the number that matters often stands at the end. They are
those of ONNX Runtime 1.32; a sentence that is not known here is shown as it came, shortened, without paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inference.engines.base import ModelLoadError

MOST_CHARACTERS: Final = 400
"""Of a sentence that is shown as it came."""


@dataclass(frozen=True)
class _Known:
    """A sentence of ONNX Runtime's, and ours, which names the groups of the pattern."""

    pattern: re.Pattern[str]
    words: str


def _known(pattern: str, words: str) -> _Known:
    return _Known(re.compile(pattern, re.DOTALL), words)


_KNOWN: Final = (
    _known(
        r"[Oo]pset (?P<has>\d+) is under development.*?domain (?P<domain>\S+) is (?:till|up to) opset (?P<most>\d+)",
        "The model was saved for opset {has} of {domain}; this console reads up to {most}. "
        "Export it again with target_opset={most} (opset_version={most} in PyTorch).",
    ),
    _known(
        r"Unsupported model IR version: (?P<has>\d+), max supported IR version: (?P<most>\d+)",
        "The file has IR version {has} of ONNX; this console reads up to {most}. Save it again: "
        'model = onnx.load("model.onnx"); model.ir_version = {most}; onnx.save(model, "model.onnx").',
    ),
    _known(
        r"Missing opset in the model",
        "The file does not say which opset its operators belong to. Export the model again; "
        "a file that was put together by hand needs opset_imports.",
    ),
    _known(
        r"(?P<domain>[\w.]+):(?P<operator>\w+)\(-?\d+\) is not a registered function/op",
        "The model uses the custom operator {operator} of {domain}, which is not part of ONNX. "
        "This console runs standard operators only: export the model without it.",
    ),
    _known(
        r"No Op registered for (?P<operator>\w+) with domain_version of (?P<opset>\d+)",
        "The model uses the operator {operator}, which opset {opset} of ONNX does not have. "
        "Export it again with a newer target_opset, or without this operator.",
    ),
    _known(
        r"Op registered for (?P<operator>\w+) is deprecated in domain_version of (?P<opset>\d+)",
        "The model uses the operator {operator}, which ONNX removed before opset {opset}. "
        "Export it again with a current version of the converter.",
    ),
    _known(
        r"Could not find an implementation for (?P<operator>\w+)\((?P<version>\d+)\)",
        "ONNX Runtime can't run the operator {operator} (version {version}) on a CPU with the types that it is "
        "given. Export the model in float32.",
    ),
    _known(
        r"Failed to construct locale with name:(?P<locale>[\w.@-]+?):",
        "The model changes text by the rules of the locale {locale}, which this server does not have. "
        'Export it with locale="C", or ask whoever runs the server to install the locale.',
    ),
    _known(
        r"External data path does not exist: \"(?:[^\"]*/)?(?P<file>[^\"/]+)\"",
        "The model's weights lie in a file beside it, {file}, which is not here. Put both into one zip archive and "
        'register that, or save all in one file: onnx.save(onnx.load("model.onnx"), "one.onnx").',
    ),
    _known(
        r"External data path escapes model directory|Absolute path not allowed for external data",
        "The model's weights lie in a file outside its own folder, which is never read. Save all in one file: "
        'onnx.save(onnx.load("model.onnx"), "one.onnx").',
    ),
    _known(
        r"External initializer: (?P<tensor>\S+) .*?given file_length",
        "The file with the model's weights is cut off: {tensor} reaches beyond its end. Copy it again.",
    ),
    _known(
        r"No graph was found in the protobuf",
        "The file has no graph: it is damaged, or no ONNX model.",
    ),
    _known(
        r"Error Node with schema\([^)]*\) has input size (?P<has>\d+) not in range",
        "The graph is broken: a node has {has} inputs, which its operator does not take. Export the model again.",
    ),
    _known(
        r"Unrecognized attribute: (?P<attribute>\S+) for operator (?P<operator>\w+)",
        "The graph is broken: the operator {operator} has no attribute {attribute} in the opset that the file names. "
        "Export the model again with one target_opset throughout.",
    ),
    _known(
        r"Node input '(?P<name>[^']*)' is not a graph input",
        "The graph is broken: it uses the value {name}, which nothing in it makes. Export the model again.",
    ),
    _known(
        r"Duplicate definition of name \((?P<name>[^)]*)\)",
        "The graph is broken: two nodes make the value {name}. Export the model again.",
    ),
    _known(r"the graph is not acyclic", "The graph is broken: it runs in a circle. Export the model again."),
    _known(
        r"Op \((?P<operator>\w+)\) \[(?:Shape|Type)InferenceError\] (?P<reason>.*)",
        "The graph is broken at the operator {operator}: {reason}",
    ),
)


def load_error(error: Exception, path: Path) -> ModelLoadError:
    """Why the file can't be loaded; where it lies is nobody's business."""
    if is_out_of_memory(error):
        return ModelLoadError("The model needs more memory than there is.", is_out_of_memory=True)
    # ONNX Runtime quotes names out of the file, which need not be text; it then fails to decode its own message.
    if type(error).__name__ == "InvalidProtobuf" or isinstance(error, UnicodeDecodeError):
        return ModelLoadError("The file is damaged or cut off: it can't be read as an ONNX model.")
    text = without_codes(error)
    for known in _KNOWN:
        if found := known.pattern.search(text):
            parts = {name: shortened(part, MOST_CHARACTERS // 2) for name, part in found.groupdict("").items()}
            return ModelLoadError(known.words.format(**parts))
    text = re.sub(r"(?:/\S+/)?\S+\.(?:cc|h):\d+ \S+ ?", "", text)
    text = (
        text.replace(f"Load model from {path} failed:", "").replace(str(path.parent), "").replace(path.name, "the file")
    )
    reason = shortened(text, MOST_CHARACTERS) or type(error).__name__
    return ModelLoadError(f"ONNX Runtime can't load the model: {reason}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether that is what ended the load or the run."""
    words = ("bad allocation", "bad_alloc", "Failed to allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def without_codes(error: Exception) -> str:
    """What ONNX Runtime says, without its own numbers."""
    return re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())


def shortened(text: str, most: int) -> str:
    """In one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
