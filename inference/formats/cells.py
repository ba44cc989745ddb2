"""What one value may be: the precise reading of a JSON or CSV cell, and the list of faults a refusal carries.

The quick ways in `json_parser` and `csv_parser` never refuse anything themselves: what they can't take is read again
by these rules, which accept a little more (3.0 for a whole number) and explain what they refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Set
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from contract.model_spec import TYPE_WORDS
from contract.problems import Problem, RowError
from inference.row_warnings import RowWarnings, WarningCode
from inference.table import ColumnRule
from inference.value_checks import Categories, ValueCheck

LISTED: Final = 100
_RECEIVED_CHARACTERS = 40
_LIKENESS: Final = 0.7  # of two names, as difflib measures it; "bil_length" and "bill_length_mm" are 0.83 alike
_SURE_LIKENESS: Final = 0.85
_CATEGORIES_SHOWN = 50
_COMPARED_NAMES = 50  # names beside the model's that are looked through for a typo
_COMPARED_CHARACTERS = 64  # longer names are compared with nothing
# Pairs of names that are compared for one request: difflib takes long, and a row may send other names than the last.
_COMPARISONS = 500

TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,40}")  # longer ones are beyond 64 bits, and Python refuses very long ones


class Bad:
    """Stands for a value that can't be taken; cheaper than an exception for each of a million cells."""


BAD: Final = Bad()


def read_json(rule: ColumnRule, value: object) -> object:
    """The value as it goes into the arrays (None: missing), or BAD. `value` is a decoded JSON value."""
    if value is None:
        return None if rule.nullable else BAD
    if rule.type == "string":
        return value if isinstance(value, str) else BAD
    if rule.type == "bool":
        return value if isinstance(value, bool) else BAD
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return BAD
    return _number(rule, value)


def read_text(rule: ColumnRule, cell: str, *, has_decimal_comma: bool) -> object:
    """The same for a CSV cell. An empty one is missing."""
    if rule.type == "string":
        return cell if cell or rule.nullable else BAD
    text = cell.strip()
    if not text:
        return None if rule.nullable else BAD
    if rule.type == "bool":
        return TRUTH.get(text.lower(), BAD)
    number = parsed_number(text.replace(",", ".") if has_decimal_comma else text)
    return BAD if number is None else _number(rule, number)


def parsed_number(text: str) -> int | float | None:
    """Decimal notation only; Python itself would also read nan, 1_000 and other scripts' digits."""
    if _WHOLE.fullmatch(text):
        return int(text)  # a float would round it beyond 2**53
    return float(text) if _NUMBER.fullmatch(text) else None


def _number(rule: ColumnRule, value: int | float) -> object:
    if isinstance(value, float):
        if not math.isfinite(value):
            return BAD
        if rule.type == "int":
            if not value.is_integer():
                return BAD
            value = int(value)
    return value if rule.low <= value <= rule.high else BAD


def noted(rule: ColumnRule, value: Any, row: int, warnings: RowWarnings) -> Any:
    """A value of the right type as the model knows it, after a warning where due; BAD if a closed list lacks it."""
    check = rule.check
    if check is None or value is None or value is BAD:
        return value
    if check.categories is not None:
        return _category(rule, check, check.categories, value, row, warnings)
    if not check.low <= value <= check.high:
        _note_number(rule, check, value, row, warnings)
    return value


def _category(
    rule: ColumnRule, check: ValueCheck, categories: Categories, value: Any, row: int, warnings: RowWarnings
) -> Any:
    known = categories.find(value)
    if known is not None:
        return known
    if value == "" and rule.nullable:
        return value  # how a text is missing
    if categories.is_closed:
        return BAD
    _warn(rule, "unknown_category", value, row, warnings)
    if not isinstance(value, str):
        _note_number(rule, check, value, row, warnings)
    return value


def _note_number(rule: ColumnRule, check: ValueCheck, value: float, row: int, warnings: RowWarnings) -> None:
    if check.is_out_of_range(value):
        _warn(rule, "out_of_range", value, row, warnings)
    if check.is_inexact(value):
        _warn(rule, "inexact_number", value, row, warnings)


def _warn(rule: ColumnRule, code: WarningCode, value: Any, row: int, warnings: RowWarnings) -> None:
    words = _usual(rule.check, code) if warnings.is_listing and rule.check is not None else ""
    warnings.add(row, rule.name, code, words, _shown(value))


def _shown(value: Any) -> Any:
    """As a warning carries it: no long text, and no whole number that JSON's writer refuses."""
    if isinstance(value, str):
        return shortened(value)
    return float(value) if isinstance(value, int) and value.bit_length() > 63 else value


def _usual(check: ValueCheck, code: WarningCode) -> str:
    """What a warning says was expected."""
    if code == "unknown_category" and check.categories is not None:
        return categories_text(check.categories)
    if code == "inexact_number":
        return f"a whole number of at most {check.largest_exact}"
    low, high = check.minimum, check.maximum
    if low is None or high is None:
        return f"at most {high:.8g}" if low is None else f"at least {low:.8g}"
    return f"from {low:.8g} to {high:.8g}"


def categories_text(categories: Categories) -> str:
    """The known ones, so far as there is room for them."""
    shown = [shortened(text) for text in categories.values[:_CATEGORIES_SHOWN]]
    quoted = shown if categories.numbers is not None else [f'"{text}"' for text in shown]
    left = len(categories.values) - len(shown)
    return f"one of {', '.join(quoted)}" + (f" and {left} more" if left else "")


def expected(rule: ColumnRule, value: object = None) -> str:
    """What a refusal says was expected: the kind, or the range or the categories when the kind was right."""
    kind = TYPE_WORDS[rule.type]
    if rule.check is not None and rule.check.categories is not None and rule.check.categories.is_closed:
        return categories_text(rule.check.categories)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or rule.type not in {"float", "int"}:
        return kind
    if rule.type == "int" and isinstance(value, float) and not value.is_integer():
        return kind
    return (
        f"{kind} from {rule.low:.8g} to {rule.high:.8g}"
        if rule.type == "float"
        else (f"{kind} from {rule.low} to {rule.high}")
    )


def describe(value: object) -> str:
    """A received JSON value in words, cut short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'text "{shortened(value)}"'
    if isinstance(value, (int, float)):
        return f"number {shortened_number(value)}"
    return "a list" if isinstance(value, list) else "an object"


def shortened(text: str) -> str:
    return text if len(text) <= _RECEIVED_CHARACTERS else text[: _RECEIVED_CHARACTERS - 1] + "…"


def shortened_number(value: int | float) -> str:
    """Python refuses to write out a whole number of very many digits."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"of about {value.bit_length() * 30103 // 100000} digits"
    return str(value)


class Faults:
    """Lists the first hundred faults and counts the rows they are in.

    Once the list is full, a row need only be read up to its first fault: whoever reads rows stops there.
    """

    def __init__(self) -> None:
        self.errors: list[RowError] = []
        self.has_more = False
        self._bad_rows = 0
        self._last_row = 0
        self._seen: dict[tuple[str, ...], Mapping[str, str]] = {}
        self._comparisons_left = _COMPARISONS

    @property
    def is_listing(self) -> bool:
        """Whether the next fault is still listed; explaining one costs more than finding it."""
        return len(self.errors) < LISTED

    def __bool__(self) -> bool:
        return self._bad_rows > 0

    def count(self, row: int) -> None:
        """A fault in this row, rows in ascending order."""
        self.has_more = not self.is_listing
        if row != self._last_row:
            self._last_row = row
            self._bad_rows += 1

    def add(self, row: int, column: str, expected: str, received: str, nearest: str | None = None) -> None:
        self.count(row)
        if self.is_listing:
            self.errors.append(RowError(row, column, expected, received, nearest))

    def add_missing(self, row: int, rules: Iterable[ColumnRule], given: Iterable[str], *, known: Set[str]) -> None:
        """Required columns that a row, or a header, lacks. A name nearly like one of them is taken for a typo of it."""
        missing = list(rules)
        typos = self._typos(missing, given, known) if self.is_listing else {}
        for rule in missing:
            if self.has_more:
                return
            if rule.name in typos:
                sent = typos[rule.name]
                self.add(row, sent, f'the column "{rule.name}"', f'a column called "{shortened(sent)}"', rule.name)
            else:
                self.add(row, rule.name, TYPE_WORDS[rule.type], "nothing: the column is missing")

    def add_typos(self, row: int, rules: Iterable[ColumnRule], given: Iterable[str], *, known: Set[str]) -> None:
        """Columns that a row, or a header, may lack but seems to misspell; the likeness asked for is higher."""
        if not self.is_listing:
            return
        lacking = list(rules)
        for name, sent in self._typos(lacking, given, known, likeness=_SURE_LIKENESS).items():
            self.add(row, sent, f'the column "{name}"', f'a column called "{shortened(sent)}"', name)

    def _typos(
        self, missing: list[ColumnRule], given: Iterable[str], known: Set[str], *, likeness: float = _LIKENESS
    ) -> Mapping[str, str]:
        extra = [name for name in given if name not in known and len(name) <= _COMPARED_CHARACTERS][:_COMPARED_NAMES]
        if not extra:
            return {}
        names = [rule.name for rule in missing[:LISTED] if len(rule.name) <= _COMPARED_CHARACTERS]
        key = (str(likeness), *extra, "", *names)
        if key in self._seen:  # the rows of one request mostly share their names
            return self._seen[key]
        if not self._comparisons_left:
            return {}
        pairs = self._seen[key] = self._pairs(names, extra, likeness)
        return pairs

    def _pairs(self, missing: list[str], extra: list[str], likeness: float) -> dict[str, str]:
        """Missing name -> the sent name that is nearest to it; each sent name stands for one missing name at most.

        When this request's comparisons are used up, the names that are left have none.
        """
        pairs: dict[str, str] = {}
        left = {name.lower(): name for name in extra}
        for name in missing:
            if len(left) > self._comparisons_left:
                self._comparisons_left = 0
                break
            self._comparisons_left -= len(left)
            if match := get_close_matches(name.lower(), left, n=1, cutoff=likeness):
                pairs[name] = left.pop(match[0])
        return pairs

    def problem(self, n_rows: int) -> Problem:
        n_faults = len(self.errors)
        rows = f"{self._bad_rows} of {n_rows} row{'s' * (n_rows > 1)}"
        detail = f"{n_faults} fault{'s' * (n_faults > 1)} in {rows}."
        if self.has_more:
            detail = f"More than {LISTED} faults, in {rows}; the first {LISTED} are listed."
        return Problem("invalid_rows", detail, errors=tuple(self.errors))


def json_value(raw: bytes | msgspec.Raw) -> object:
    """A decoded JSON value; a number beyond 64-bit floats comes as infinity. Raises `msgspec.DecodeError`."""
    try:
        value: Any = msgspec.json.decode(raw)
    except msgspec.ValidationError:  # "Number out of range" is the only one without a type
        return math.inf
    return value
