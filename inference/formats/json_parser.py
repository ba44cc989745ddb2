"""`{"rows": [{...}]}` into a table: a decoder compiled for the model's columns, and a careful reading where it refuses.

Other formats' rows (objects or lists, under other keys) are read here too, by `table_of`. Of keys that appear twice in
an object the last one counts. Extra columns are skipped, whatever is in them, unless the row lacks a column whose name
is nearly the same: predicting without it would hide a typo.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.cells import BAD, Faults, describe, expected, json_value, read_json, shortened
from inference.table import ColumnRule, Layout, Table

_BOM = b"\xef\xbb\xbf"
_SHAPE = 'Expected {"rows": [{"column": value, ...}, ...]}'


class _Envelope(msgspec.Struct):
    """Rows that are still text, so that one bad row doesn't cost the memory of all of them as dicts."""

    rows: list[msgspec.Raw]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_RAW_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class JsonParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self._columns = [rule.name for rule in layout.rules]
        self._rules = [layout.rules[index] for index in layout.field_order]
        self._names = {rule.name for rule in self._rules}
        self._may_lack_columns = any(rule.nullable for rule in self._rules)
        row_type = _row_type(self._rules)
        self._rows = None if row_type is None else msgspec.json.Decoder(_rows_type(row_type))
        self._row = None if row_type is None else msgspec.json.Decoder(row_type)

    def table(self, body: bytes) -> Table:
        """Raises `Problem("malformed_body" | "invalid_rows")`."""
        table = self.quick_table(body)
        return self.careful_table(body) if table is None else table

    def quick_table(self, body: bytes) -> Table | None:
        """None where the body needs a closer look: to find out what is wrong, or that nothing is."""
        if self._rows is None:
            return None
        if not body.isascii():
            body = checked_utf8(body)
        try:
            decoded = self._rows.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None
        if decoded.inputs is not UNSET:
            return None
        cells = list(map(astuple, decoded.rows))
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
        faults = Faults()
        names = self._columns if columns is None else columns
        cells = [self._any_cells(raw, number, names, faults) for number, raw in enumerate(rows, start=1)]
        if faults:
            raise faults.problem(len(rows))
        return self._layout.table_from_rows(cells)

    def _any_cells(self, raw: msgspec.Raw, number: int, names: Sequence[str], faults: Faults) -> tuple[Any, ...]:
        first = bytes(memoryview(raw)[:1])
        if first == b"[" and names:
            return self._listed_cells(raw, number, names, faults)
        if first != b"{" and names and len(self._columns) == 1:
            return self._careful_cells({self._columns[0]: raw}, number, faults)
        return self._row_cells(raw, number, faults)

    def _listed_cells(self, raw: msgspec.Raw, number: int, names: Sequence[str], faults: Faults) -> tuple[Any, ...]:
        try:
            values = _RAW_LIST.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem("malformed_body", f"Row {number} is not valid JSON: {_reason(error)}.") from None
        if len(values) != len(names):
            faults.add(number, "", f"{len(names)} values", f"{len(values)} values")
            return ()
        return self._careful_cells(dict(zip(names, values, strict=True)), number, faults)

    def _row_cells(self, raw: msgspec.Raw, number: int, faults: Faults) -> tuple[Any, ...]:
        """The row's cells in the layout's order; if there are faults, the tuple means nothing."""
        if (cells := self._quick_cells(raw)) is not None:
            return cells
        try:
            return self._careful_cells(_RAW_ROW.decode(raw), number, faults)
        except msgspec.ValidationError:
            faults.add(number, "", "an object", describe(json_value(raw)))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem("malformed_body", f"Row {number} is not valid JSON: {_reason(error)}.") from None
        return ()

    def _quick_cells(self, raw: msgspec.Raw) -> tuple[Any, ...] | None:
        """None where the row needs a closer look."""
        if self._row is None:
            return None
        try:
            cells = astuple(self._row.decode(raw))
        except (msgspec.DecodeError, RecursionError):
            return None
        return None if self._may_lack_columns and UNSET in cells else cells

    def _careful_cells(self, given: dict[str, msgspec.Raw], number: int, faults: Faults) -> tuple[Any, ...]:
        cells: list[Any] = []
        missing: list[ColumnRule] = []
        left_out: list[ColumnRule] = []
        for rule in self._rules:
            raw = given.get(rule.name)
            if raw is None:
                cells.append(None)
                (left_out if rule.nullable else missing).append(rule)
                continue
            value = _cell_value(raw, number)
            cell = read_json(rule, value)
            cells.append(cell)
            if cell is BAD:
                _add_bad(faults, number, rule, value, raw)
                if faults.has_more:
                    return ()
        if missing:
            faults.add_missing(number, missing, given, known=self._names)
        if left_out:
            faults.add_typos(number, left_out, given, known=self._names)
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


def _row_type(rules: list[ColumnRule]) -> type[msgspec.Struct] | None:
    """A struct with one field per column; None where msgspec can't spell a column's name (quotes, backslashes)."""
    fields: list[Any] = []
    for index, rule in enumerate(rules):
        kind = _field_type(rule)
        optional = (f"f{index}", kind | None | UnsetType, UNSET)
        fields.append(optional if rule.nullable else (f"f{index}", kind))
    names = {f"f{index}": rule.name for index, rule in enumerate(rules)}
    try:
        # gc=False: rows hold only atoms, so the collector need not walk 100,000 of them
        return msgspec.defstruct("Row", fields, rename=names, gc=False, kw_only=True)
    except ValueError:
        return None


def _rows_type(row_type: type[msgspec.Struct]) -> Any:
    rows = Annotated[list[row_type], msgspec.Meta(min_length=1)]  # type: ignore[valid-type]  # made at run time
    inputs = ("inputs", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)  # another format's key: not to be overlooked
    return msgspec.defstruct("Body", [("rows", rows), inputs], gc=False)


def _field_type(rule: ColumnRule) -> Any:
    """Limits are checked while decoding, so the arrays can never overflow."""
    if rule.type == "float":
        return Annotated[float, msgspec.Meta(ge=rule.low, le=rule.high)]
    if rule.type == "int":
        return Annotated[int, msgspec.Meta(ge=int(rule.low), le=int(rule.high))]
    return {"bool": bool, "string": str}[rule.type]


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
