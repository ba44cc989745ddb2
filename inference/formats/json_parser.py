"""`{"rows": [{...}]}` into a table: a decoder compiled for the model's columns, and a careful reading where it refuses.

Other formats' rows (objects or lists, under other keys) are read here too, by `table_of`. Of keys that appear twice in
an object the last one counts. Extra columns are skipped, whatever is in them, unless they look like a column of the
model, or the row lacks one whose name is nearly the same: predicting without it would hide a typo.

The quick ways take only what needs no second look: exact names and nothing beside them, usual values. So what is
checked beyond types costs nothing where there is nothing to say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.cells import BAD, Faults, describe, expected, json_value, noted, read_json, shortened
from inference.formats.column_names import ColumnNames
from inference.formats.row_decoders import QuickDecoders, any_value, row_type
from inference.row_warnings import RowWarnings
from inference.table import ColumnRule, Layout, Table
from inference.value_checks import EXACT_DOUBLE

_MOST_LEARNT = 8  # times that the quick ways are compiled again, for callers' other keys
_MOST_STRANGERS = 64
_LONGEST_STRANGER = 100
_BOM = b"\xef\xbb\xbf"
_SHAPE = 'Expected {"rows": [{"column": value, ...}, ...]}'


class _Envelope(msgspec.Struct):
    """Rows that are still text, so that one bad row doesn't cost the memory of all of them as dicts."""

    rows: list[msgspec.Raw]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_RAW_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class _Notes:
    """What is said of one request's rows. `strangers`: keys of theirs that look like no column."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.warnings = RowWarnings()
        self.strangers: set[str] = set()


class JsonParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self._columns = [rule.name for rule in layout.rules]
        self._rules = [layout.rules[index] for index in layout.field_order]
        self._names = ColumnNames(layout)
        self._may_lack_columns = any(rule.nullable for rule in self._rules)
        checks = [(place, rule.check) for place, rule in enumerate(self._rules) if rule.check is not None]
        self._ranged = [(place, one.low, one.high) for place, one in checks if one.categories is None]
        self._listed = [(place, one.categories) for place, one in checks if one.categories is not None]
        self._quick = QuickDecoders.made(self._rules, ())
        self._n_learnt = 0
        any_type = row_type(self._rules, map(any_value, self._rules), forbids_others=False)
        self._any_row = None if any_type is None else msgspec.json.Decoder(any_type)

    def table(self, body: bytes) -> Table:
        """Raises `Problem("malformed_body" | "invalid_rows")`."""
        table = self.quick_table(body)
        return self.careful_table(body) if table is None else table

    def quick_table(self, body: bytes) -> Table | None:
        """None where the body needs a closer look: to find out what is wrong, or that nothing is."""
        quick = self._quick
        if quick is None:
            return None
        if not body.isascii():
            body = checked_utf8(body)
        try:
            decoded = quick.rows.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None
        if decoded.inputs is not UNSET:
            return None
        cells = list(map(astuple, decoded.rows))
        if quick.n_strangers:
            cells = [row[: -quick.n_strangers] for row in cells]
        if self._may_lack_columns and any(UNSET in row for row in cells):
            return None
        return self._layout.table_from_rows(cells)

    def careful_table(self, body: bytes) -> Table:
        """Raises `Problem("malformed_body" | "invalid_rows")`."""
        body = checked_utf8(body)
        try:
            rows = _envelope(body).rows
        except RecursionError:
            raise Problem("malformed_body", "The JSON is nested too deeply.") from None
        return self.table_of(rows, "rows", columns=())

    def table_of(self, rows: Sequence[msgspec.Raw], key: str, columns: Sequence[str] | None = None) -> Table:
        """From rows that are objects, or lists of cells in the order of `columns` (None: the model's; empty: no lists).

        `key` is what a refusal calls them. Where lists are taken and the model has one column, a row may be the value.
        Raises `Problem("malformed_body" | "invalid_rows")`.
        """
        if not rows:
            raise Problem("invalid_rows", f"`{key}` is empty: send at least one row.")
        notes = _Notes()
        names = self._columns if columns is None else self._matched(columns, len(rows))
        cells = [self._any_cells(raw, number, names, notes) for number, raw in enumerate(rows, start=1)]
        if notes.faults:
            raise notes.faults.problem(len(rows))
        if notes.strangers:
            self._learn(notes.strangers)
        table = self._layout.table_from_rows(cells)
        if notes.warnings:
            table.warnings = notes.warnings
        return table

    def _learn(self, strangers: set[str]) -> None:
        """Callers mostly send the same other keys with each request: from now on the quick ways skip these."""
        known = self._quick.strangers if self._quick is not None else ()
        names = tuple(sorted({*known, *strangers}))
        if self._n_learnt >= _MOST_LEARNT or len(names) > _MOST_STRANGERS or max(map(len, names)) > _LONGEST_STRANGER:
            return
        self._n_learnt += 1
        self._quick = QuickDecoders.made(self._rules, names) or self._quick

    def _matched(self, columns: Sequence[str], n_rows: int) -> Sequence[str]:
        """The same with the model's own names, where they are spelt differently."""
        faults = Faults()
        aliases = self._names.aliases(columns, 1, faults)
        if faults:
            raise faults.problem(n_rows)
        own_name = {sent: column for column, sent in aliases.items()}
        return [own_name.get(name, name) for name in columns]

    def _any_cells(self, raw: msgspec.Raw, number: int, names: Sequence[str], notes: _Notes) -> tuple[Any, ...]:
        first = bytes(memoryview(raw)[:1])
        if first == b"[" and names:
            return self._listed_cells(raw, number, names, notes)
        if first != b"{" and names and len(self._columns) == 1:
            return self._careful_cells({self._columns[0]: raw}, number, notes)
        return self._row_cells(raw, number, notes)

    def _listed_cells(self, raw: msgspec.Raw, number: int, names: Sequence[str], notes: _Notes) -> tuple[Any, ...]:
        try:
            values = _RAW_LIST.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem("malformed_body", f"Row {number} is not valid JSON: {_reason(error)}.") from None
        if len(values) != len(names):
            notes.faults.add(number, "", f"{len(names)} values", f"{len(values)} values")
            return ()
        return self._careful_cells(dict(zip(names, values, strict=True)), number, notes)

    def _row_cells(self, raw: msgspec.Raw, number: int, notes: _Notes) -> tuple[Any, ...]:
        """The row's cells in the layout's order; if there are faults, the tuple means nothing."""
        quick = self._quick
        if quick is not None and (cells := self._decoded(quick.row, raw)) is not None:
            return cells[: len(self._rules)]
        try:
            given = _RAW_ROW.decode(raw)
        except msgspec.ValidationError:
            notes.faults.add(number, "", "an object", describe(json_value(raw)))
            return ()
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem("malformed_body", f"Row {number} is not valid JSON: {_reason(error)}.") from None
        extra = given.keys() - self._names.exact
        if self._names.has_strangers_only(extra):
            notes.strangers |= extra
            cells = self._noted_cells(raw, number, notes)
            return self._careful_cells(given, number, notes) if cells is None else cells
        return self._careful_cells(self._renamed(given, number, notes), number, notes)

    def _noted_cells(self, raw: msgspec.Raw, number: int, notes: _Notes) -> tuple[Any, ...] | None:
        """Cells of the right types, with warnings where they are odd. None where the row needs a closer look."""
        cells = self._decoded(self._any_row, raw)
        if cells is None:
            return None
        odd = [
            place
            for place, low, high in self._ranged
            if (value := cells[place]) is not None and not low <= value <= high
        ]
        odd += [place for place, listed in self._listed if cells[place] not in listed.as_sent]
        if not odd:
            return cells
        if any(_is_hard(self._rules[place], cells[place]) for place in odd):
            return None
        changed = list(cells)
        for place in sorted(odd):
            changed[place] = noted(self._rules[place], cells[place], number, notes.warnings)
        return tuple(changed)

    def _renamed(self, given: dict[str, msgspec.Raw], number: int, notes: _Notes) -> dict[str, msgspec.Raw]:
        """With the model's own names for keys that are spelt differently."""
        aliases = self._names.aliases(given, number, notes.faults)
        own_name = {sent: column for column, sent in aliases.items()}
        return {own_name.get(name, name): raw for name, raw in given.items()}

    def _decoded(self, decoder: Any, raw: msgspec.Raw) -> tuple[Any, ...] | None:
        """None where the row needs a closer look."""
        if decoder is None:
            return None
        try:
            cells = astuple(decoder.decode(raw))
        except (msgspec.DecodeError, RecursionError):
            return None
        return None if self._may_lack_columns and UNSET in cells[: len(self._rules)] else cells

    def _careful_cells(self, given: dict[str, msgspec.Raw], number: int, notes: _Notes) -> tuple[Any, ...]:
        cells: list[Any] = []
        missing: list[ColumnRule] = []
        left_out: list[ColumnRule] = []
        faults = notes.faults
        for rule in self._rules:
            raw = given.get(rule.name)
            if raw is None:
                cells.append(None)
                (left_out if rule.nullable else missing).append(rule)
                continue
            value = _cell_value(raw, number)
            cell = noted(rule, read_json(rule, value), number, notes.warnings)
            cells.append(cell)
            if cell is BAD:
                _add_bad(faults, number, rule, value, raw)
                if faults.has_more:
                    return ()
        if missing:
            faults.add_missing(number, missing, given, known=self._names.exact)
        if left_out:
            faults.add_typos(number, left_out, given, known=self._names.exact)
        if given and len(left_out) == len(self._rules) and not faults.has_more:
            # most likely another format's object, which would be answered as if all its columns were missing
            faults.add(number, "", "the model's columns", "an object with none of them")
        return tuple(cells)


def _cell_value(raw: msgspec.Raw, number: int) -> object:
    try:
        return json_value(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("malformed_body", f"Row {number} is not valid JSON: {_reason(error)}.") from None


def _add_bad(faults: Faults, number: int, rule: ColumnRule, value: object, raw: msgspec.Raw) -> None:
    if not faults.is_listing:
        faults.count(number)
        return
    is_beyond = isinstance(value, float) and math.isinf(value)
    received = f"number {shortened(bytes(raw).decode())}" if is_beyond else describe(value)
    faults.add(number, rule.name, expected(rule, value), received)


def _is_hard(rule: ColumnRule, value: Any) -> bool:
    """Whether an odd value has to be looked at as it was sent: it is refused, or a decoder may have rounded it."""
    if isinstance(value, float) and abs(value) >= EXACT_DOUBLE:
        return True
    categories = rule.check.categories if rule.check is not None else None
    return categories is not None and categories.is_closed and value is not None and categories.find(value) is None


def checked_utf8(body: bytes) -> bytes:
    """msgspec doesn't look into the text it skips, and JSON is UTF-8 throughout. A byte order mark is let pass."""
    if body.isascii():
        return body
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem("malformed_body", f"The body is not UTF-8: invalid byte at position {error.start}.") from None
    return body.removeprefix(_BOM)


def members(body: bytes, shape: str) -> dict[str, msgspec.Raw]:
    """A JSON object's members, still as text. Raises `Problem("malformed_body" | "invalid_rows")`."""
    body = checked_utf8(body)
    if not body.strip():
        raise Problem("malformed_body", "The body is empty.")
    try:
        return _RAW_ROW.decode(body)
    except msgspec.ValidationError:
        raise Problem("invalid_rows", f"Expected {shape}, received {_described(body)}.") from None
    except msgspec.DecodeError as error:
        _refuse_syntax(body, error)
    except RecursionError:
        raise Problem("malformed_body", "The JSON is nested too deeply.") from None


def without_nan(body: bytes) -> bytes | None:
    """Serialisers that some clients use write NaN for a missing number. As JSON, with null; None where it is not that.

    Numbers stay as they were written.
    """
    if b"NaN" not in body:
        return None
    try:
        return msgspec.json.encode(json.loads(body, parse_constant=_null, parse_float=_raw, parse_int=_raw))
    except (ValueError, RecursionError):
        return None


def _null(name: str) -> None:
    if name != "NaN":
        raise ValueError(name)


def _raw(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def listed(raw: msgspec.Raw, key: str) -> list[msgspec.Raw]:
    """A JSON list's elements, still as text. Raises `Problem("malformed_body" | "invalid_rows")`."""
    try:
        return _RAW_LIST.decode(raw)
    except msgspec.ValidationError:
        raise Problem("invalid_rows", f"Expected `{key}` to be a list, received {_described(raw)}.") from None
    except msgspec.DecodeError as error:
        raise Problem("malformed_body", f"`{key}` is not valid JSON: {_reason(error)}.") from None
    except RecursionError:
        raise Problem("malformed_body", "The JSON is nested too deeply.") from None


def _described(raw: bytes | msgspec.Raw) -> str:
    """What a JSON value is, in words. Raises `Problem("malformed_body")`."""
    try:
        return describe(json_value(raw))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("malformed_body", f"The body is not valid JSON: {_reason(error)}.") from None


def _envelope(body: bytes) -> _Envelope:
    """The rows, each still as text. Raises RecursionError, or a Problem that says what is wrong with the whole."""
    if not body.strip():
        raise Problem("malformed_body", "The body is empty.")
    try:
        return _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        _refuse_shape(body)
    except msgspec.DecodeError as error:
        _refuse_syntax(body, error)


def _refuse_shape(body: bytes) -> NoReturn:
    try:
        raw = msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:  # the shape was wrong before the fault was reached
        _refuse_syntax(body, error)
    if not bytes(raw).lstrip().startswith(b"{"):
        raise Problem("invalid_rows", f"{_SHAPE}, received {describe(json_value(raw))}.")
    rows = _RAW_ROW.decode(raw).get("rows")
    if rows is None:
        raise Problem("invalid_rows", f"{_SHAPE}, received an object without `rows`.")
    raise Problem("invalid_rows", f"{_SHAPE}, received {describe(json_value(rows))} as `rows`.")


def _refuse_syntax(body: bytes, error: msgspec.DecodeError) -> NoReturn:
    hint = ""
    place = re.search(r"\(byte (\d+)\)", str(error))
    if place and body[int(place[1]) :].lstrip(b"-").startswith((b"NaN", b"Inf", b"nan", b"inf")):
        hint = " JSON has no NaN or Infinity; a missing value is null."
    raise Problem("malformed_body", f"The body is not valid JSON: {_reason(error)}.{hint}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).removeprefix("JSON is malformed: ").rstrip(".")
