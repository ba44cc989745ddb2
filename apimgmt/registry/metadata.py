"""What an owner says about a model in a metadata file (format: docs/model-metadata.md).

Everything in it is optional and nothing is trusted: `apimgmt.registry.spec_builder` holds it against the graph.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeGuard

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apimgmt.errors import Refused
from apimgmt.registry.storable import escaped, unstorable_texts
from contract.model_spec import Cell, ColumnType, InputLayout, Score, Task

MAX_METADATA_BYTES = 4_000_000
MOST_FAULTS = 20
MOST_DIGITS = 1000
LARGEST_WHOLE = 10**18
"""Whole numbers from here on may be more than 64 bits."""
COLUMN_TYPES: tuple[ColumnType, ...] = ("float", "int", "string", "bool")


class DescriptionRefused(Refused):
    """The file, the metadata or the sample can't be used. `field` says which one, `faults` all that is wrong.

    `about`: the output that is at fault, where it is one. `code`: of what was found by trying the model, the reason as
    `registry.meaning_sentences` knows it.
    """

    status = 422

    def __init__(self, field: str, faults: list[str], *, about: str = "", code: str = "") -> None:
        shown = faults[:MOST_FAULTS]
        if len(faults) > MOST_FAULTS:
            shown.append(_("… and %d more.") % (len(faults) - MOST_FAULTS))
        super().__init__(" ".join(shown))
        self.field = field
        self.faults = shown
        self.about = about
        self.code = code


@dataclass(frozen=True)
class StatedColumn:
    """One column as stated or learnt; None: not said. `is_range_known`: the range is worth a warning beyond it."""

    name: str
    type: ColumnType | None = None
    categories: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None
    baseline: Cell = None
    nullable: bool | None = None
    unit: str | None = None
    is_range_known: bool = True


@dataclass(frozen=True)
class StatedOutputs:
    """Outputs of the graph by role. `values`: outputs, or the names of the numbers predicted: only the graph tells.

    `targets`: the names of those numbers, where `values` are outputs for certain.
    """

    values: tuple[str, ...] = ()
    label: str | None = None
    probabilities: str | None = None
    scores: str | None = None
    ignored: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """A metadata file as far as it goes. `own`: keys that nobody has stated but the model file itself."""

    task: Task | None = None
    target: str | None = None
    classes: tuple[str, ...] | dict[str, str] | None = None
    outputs: StatedOutputs | None = None
    columns: tuple[StatedColumn, ...] | None = None
    input: InputLayout | None = None
    sample: dict[str, Cell] | None = None
    score: Score | None = None
    description: str = ""
    own: frozenset[str] = frozenset()

    def origin_of(self, key: str) -> str:
        """Who has stated it, in words."""
        return _("model file") if key in self.own else _("metadata file")


def with_own(stated: Metadata | None, own: str) -> Metadata:
    """With what the model file itself says, where its owner says nothing. `own`: as text, "" for nothing.

    Raises `DescriptionRefused`.
    """
    stated = stated or Metadata()
    if not own:
        return stated
    try:
        found = parse_metadata(own.encode())
    except DescriptionRefused as error:
        raise DescriptionRefused("file", error.faults) from None
    lacking = {key: value for key, value in vars(found).items() if value and not getattr(stated, key)}
    if found.description and found.description not in stated.description:
        lacking["description"] = "\n".join(filter(None, [stated.description, found.description]))
    return replace(stated, **lacking, own=frozenset(lacking))


def parse_metadata(content: bytes) -> Metadata:
    """Read a metadata file. Raises `DescriptionRefused` with every fault: the key, what was expected, what is there."""
    if len(content) > MAX_METADATA_BYTES:
        raise DescriptionRefused("metadata", [_("The metadata file is larger than a metadata file can be.")])
    try:
        document = _decoder().decode(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DescriptionRefused(
            "metadata", [_("The metadata file is not UTF-8 text (byte %d).") % error.start]
        ) from None
    except json.JSONDecodeError as error:
        words = {"line": error.lineno, "column": error.colno, "reason": error.msg}
        raise DescriptionRefused(
            "metadata", [_("The metadata file is not JSON: line %(line)d, column %(column)d: %(reason)s.") % words]
        ) from None
    except RecursionError:
        raise DescriptionRefused("metadata", [_("The metadata file is nested too deeply.")]) from None
    except ValueError as error:
        raise DescriptionRefused("metadata", [_("The metadata file is not JSON: %s.") % error]) from None
    return metadata_from(document)


def is_metadata(content: bytes) -> bool:
    """Whether a file that lies beside a model is about it: another model, or a log, has none of the keys."""
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return True  # damaged: refused with its line
    return isinstance(document, dict) and not document.keys().isdisjoint(_METADATA_KEYS)


def metadata_from(document: object) -> Metadata:
    """As `parse_metadata`, from parsed JSON."""
    if unstorable := list(islice(unstorable_texts(document), MOST_FAULTS)):
        raise DescriptionRefused("metadata", [unstorable_sentence(text) for text in unstorable])
    if isinstance(document, dict) and (other := next((what for key, what in _OTHER_FILES if key in document), None)):
        raise DescriptionRefused("metadata", [_("The metadata file is %s, not a description of one.") % other])
    reading = _Reading()
    values = reading.members(document, "", _METADATA_KEYS)
    metadata = Metadata(
        task=values.get("task"),
        target=values.get("target"),
        classes=values.get("classes"),
        outputs=values.get("outputs"),
        columns=values.get("columns"),
        input=values.get("input"),
        sample=values.get("sample"),
        score=values.get("score"),
        description=values.get("description", ""),
    )
    faults = reading.faults or _inner_contradictions(metadata)
    if faults:
        raise DescriptionRefused("metadata", faults)
    return metadata


def unstorable_sentence(text: str) -> str:
    """What is wrong with a text that can't be stored."""
    return _("“%s” has a character that can't be stored: \\u0000, or half of a surrogate pair.") % escaped(text)


def with_outputs(metadata: Metadata, lines: Sequence[str]) -> Metadata:
    """With roles given as ROLE=NAME, several of them for a value. Raises `DescriptionRefused`."""
    given: dict[str, Any] = {}
    for line in lines:
        role, _equals, name = line.partition("=")
        if role in {"value", "ignored"}:
            given.setdefault(role, []).append(name)
        elif role in given:
            raise DescriptionRefused("outputs", [_("outputs: only one output can be the %s.") % role])
        else:
            given[role] = name
    return replace(metadata, outputs=metadata_from({"outputs": given}).outputs)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _value in pairs)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise ValueError(_("the key %s is there twice") % json.dumps(twice[0]))
    return dict(pairs)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_no_constant, parse_int=_whole)


def _whole(digits: str) -> int:
    """Python reads no more than some thousand digits, and says so in its own words."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(_("a number has %d digits") % len(digits))
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(_("%s is no JSON number") % name)


class _Wrong(Exception):
    """`args[0]` is what was expected."""


class _Reading:
    """Walks a document and notes every fault with its path."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def members(
        self, document: object, path: str, keys: dict[str, Callable[[_Reading, object, str], Any]]
    ) -> dict[str, Any]:
        if not isinstance(document, dict):
            self.expected(path or _("the file"), _("an object"), document)
            return {}
        values = {}
        for key, value in document.items():
            place = f"{path}.{key}" if path else str(key)
            if key not in keys:
                known = ", ".join(keys)
                self.faults.append(_("%(place)s: unknown key; known are %(known)s.") % {"place": place, "known": known})
                continue
            try:
                values[key] = keys[key](self, value, place)
            except _Wrong as wrong:
                self.expected(place, str(wrong), value)
        return values

    def expected(self, place: str, expected: str, received: object) -> None:
        words = {"place": place, "expected": expected, "received": _shown(received)}
        self.faults.append(_("%(place)s: expected %(expected)s, found %(received)s.") % words)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


def _text(_reading: _Reading, value: object, _place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(_("text"))
    return value


def _column_name(_reading: _Reading, value: object, _place: str) -> str:
    """A blank is a name: a graph may have it."""
    if not isinstance(value, str) or not value:
        raise _Wrong(_("text"))
    return value


def _any_text(_reading: _Reading, value: object, _place: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(_("text"))
    return value


def _is_number(value: object) -> TypeGuard[float]:
    """One that can be stored and computed with: finite, and of 64 bits where it is whole."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < LARGEST_WHOLE if isinstance(value, int) else math.isfinite(value)


def _number(_reading: _Reading, value: object, _place: str) -> float:
    if not _is_number(value):
        raise _Wrong(_("a number"))
    return value


def _count(_reading: _Reading, value: object, _place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_WHOLE:
        raise _Wrong(_("a whole number"))
    return value


def _flag(_reading: _Reading, value: object, _place: str) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(_("true or false"))
    return value


def _one_of(*choices: str) -> Callable[[_Reading, object, str], str]:
    def read(_reading: _Reading, value: object, _place: str) -> str:
        if value not in choices:
            raise _Wrong(_("one of %s") % ", ".join(choices))
        return str(value)

    return read


def _cell(_reading: _Reading, value: object, _place: str) -> Cell:
    if value is None or isinstance(value, str | bool) or _is_number(value):
        return value
    raise _Wrong(_("a number, text, true, false or null"))


def _categories(_reading: _Reading, value: object, _place: str) -> tuple[str, ...]:
    """Empty text is a category like another: models learn it where missing values were filled with it."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise _Wrong(_("a list of texts"))
    if len(set(value)) < len(value):
        raise _Wrong(_("a list of different texts"))
    return tuple(value)


def _classes(reading: _Reading, value: object, place: str) -> tuple[str, ...] | dict[str, str]:
    """A mapping from label to name, or a list of names, in which whole numbers are taken as their text."""
    if isinstance(value, dict):
        return _class_mapping(value)
    if isinstance(value, list):
        value = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
    labels = _categories(reading, value, place)
    if not all(labels):
        raise _Wrong(_("a list of texts"))
    if len(labels) < 2:
        raise _Wrong(_("at least two classes"))
    return labels


def _class_mapping(value: dict[object, object]) -> dict[str, str]:
    names = list(value.values())
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise _Wrong(_("a name for each label"))
    if len(set(names)) < len(names):
        raise _Wrong(_("a different name for each label"))
    if len(names) < 2:
        raise _Wrong(_("at least two classes"))
    return {str(label): str(name) for label, name in value.items()}


def _output(_reading: _Reading, value: object, _place: str) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong(_("the name of one output"))
    return value


def _output_list(_reading: _Reading, value: object, _place: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise _Wrong(_("the name of an output, or a list of names"))
    if len(set(names)) < len(names):
        raise _Wrong(_("different names"))
    return tuple(names)


def _outputs(reading: _Reading, value: object, place: str) -> StatedOutputs:
    if not isinstance(value, dict):
        raise _Wrong(_("an object: role to the name of an output"))
    given = reading.members(value, place, _OUTPUT_KEYS)
    return StatedOutputs(
        values=given.get("value", ()),
        label=given.get("label"),
        probabilities=given.get("probabilities"),
        scores=given.get("scores"),
        ignored=given.get("ignored", ()),
    )


def _columns(reading: _Reading, value: object, place: str) -> tuple[StatedColumn, ...]:
    if not isinstance(value, list) or not value:
        raise _Wrong(_("a list of columns"))
    columns = []
    for index, item in enumerate(value):
        here = f"{place}[{index}]"
        values = reading.members(item, here, _COLUMN_KEYS)
        if "name" not in values and isinstance(item, dict) and "name" not in item:
            reading.faults.append(_("%s: the name is missing.") % here)
        columns.append(StatedColumn(**{"name": "", **values}))
    return tuple(columns)


def _row(reading: _Reading, value: object, place: str) -> dict[str, Cell]:
    if not isinstance(value, dict):
        raise _Wrong(_("an object: column name to value"))
    row = {}
    for name, cell in value.items():
        try:
            row[str(name)] = _cell(reading, cell, place)
        except _Wrong as wrong:
            reading.expected(f"{place}.{name}", str(wrong), cell)
    return row


def _score(reading: _Reading, value: object, place: str) -> Score | None:
    values = reading.members(value, place, _SCORE_KEYS)
    if isinstance(value, dict) and not {"name", "value"} <= value.keys():
        raise _Wrong(_("an object with name and value"))
    return Score(values["name"], values["value"], values.get("rows")) if {"name", "value"} <= values.keys() else None


_METADATA_KEYS: dict[str, Callable[[_Reading, object, str], Any]] = {
    "task": _one_of("binary", "multiclass", "regression", "anomaly"),
    "target": _text,
    "classes": _classes,
    "outputs": _outputs,
    "columns": _columns,
    "input": _one_of("columns", "matrix"),
    "sample": _row,
    "score": _score,
    "description": _any_text,
}
# Other files that end in .json, by a key that they have: what each is.
_OTHER_FILES: tuple[tuple[str, Promise], ...] = (
    ("learner", gettext_lazy("an XGBoost model")),
    ("oblivious_trees", gettext_lazy("a CatBoost model")),
    ("tree_info", gettext_lazy("a LightGBM model")),
    ("irVersion", gettext_lazy("an ONNX model")),
    ("cells", gettext_lazy("a notebook")),
)
_OUTPUT_KEYS: dict[str, Callable[[_Reading, object, str], Any]] = {
    "value": _output_list,
    "label": _output,
    "probabilities": _output,
    "scores": _output,
    "ignored": _output_list,
}
_COLUMN_KEYS: dict[str, Callable[[_Reading, object, str], Any]] = {
    "name": _column_name,
    "type": _one_of(*COLUMN_TYPES),
    "categories": _categories,
    "min": _number,
    "max": _number,
    "baseline": _cell,
    "nullable": _flag,
    "unit": _any_text,
}
_SCORE_KEYS: dict[str, Callable[[_Reading, object, str], Any]] = {"name": _text, "value": _number, "rows": _count}


def _inner_contradictions(metadata: Metadata) -> list[str]:
    """What is wrong without looking at the graph."""
    faults = []
    counts = Counter(column.name for column in metadata.columns or ())
    faults += [_("columns: %s is there twice.") % name for name, count in counts.items() if count > 1]
    for column in metadata.columns or ():
        faults += _column_faults(column)
    if metadata.task == "regression" and metadata.classes:
        faults.append(_("classes: a regression has none."))
    if metadata.task == "binary" and metadata.classes and len(metadata.classes) != 2:
        faults.append(_("classes: binary means two classes, found %d.") % len(metadata.classes))
    return faults


def _column_faults(column: StatedColumn) -> list[str]:
    place = _("column %s") % column.name
    faults = []
    if column.min is not None and column.max is not None and column.min > column.max:
        faults.append(
            _("%(place)s: min %(min)s is above max %(max)s.") % {"place": place, "min": column.min, "max": column.max}
        )
    if column.type in {"string", "bool"} and (column.min is not None or column.max is not None):
        faults.append(
            _("%(place)s: min and max are for numbers, the type is %(type)s.") % {"place": place, "type": column.type}
        )
    if column.type not in {None, "string"} and column.categories is not None:
        faults.append(
            _("%(place)s: categories are for text, the type is %(type)s.") % {"place": place, "type": column.type}
        )
    if column.type is not None and column.baseline is not None and not is_of_type(column.baseline, column.type):
        words = {"place": place, "type": column.type, "found": _shown(column.baseline)}
        faults.append(_("%(place)s: the baseline must be %(type)s, found %(found)s.") % words)
    return faults


def is_of_type(value: Cell, kind: ColumnType) -> bool:
    """Whether a value that is there fits a column's type. A whole number is a float too; true is no number."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return kind == "float" or isinstance(value, int)
