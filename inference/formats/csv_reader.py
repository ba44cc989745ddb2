"""CSV as header and rows of text: charset, separator, quotes, decimal marks. It reads requests and samples alike."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from contract.problems import Problem
from inference.names import Names

Row = list[str]

_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_NO_CHARACTERS: Final = frozenset("\x80\xa0\uf8f0\uf8f1\uf8f2\uf8f3")
_SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
_STATED_SEPARATORS: Final = _SEPARATORS | {"|": "bar"}
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_SEPARATOR_LINE_CHARACTERS: Final = 10

_DOUBLE = "[^\x00-\x7f\uff61-\uff9f]"  # two bytes in CP932; the half-width letters have one
_JAPANESE: Final = re.compile(rf'{_DOUBLE}{_DOUBLE}|(?:\A|[,;\t"\r\n]){_DOUBLE}(?:[,;\t"\r\n]|\Z)')


class CsvForm(msgspec.Struct, frozen=True):
    """What was recognised of a CSV. `has_separator_line`: its first line only says what parts cells."""

    charset: str
    separator: str
    has_separator_line: bool = False

    def __str__(self) -> str:
        decimal = "comma" if self.has_decimal_comma else "point"
        separator = _STATED_SEPARATORS[self.separator]
        return f"charset={self.charset}; separator={separator}; decimal={decimal}"

    @property
    def has_decimal_comma(self) -> bool:
        """Whether a number may have one."""
        return self.separator == ";"


class CsvText:
    """A body as text. `n_dropped`, once the rows were read: how many rows at its end had nothing in any cell.

    Rows are read from the body as they are asked for, so that a large one is never in memory as texts.
    """

    def __init__(self, body: bytes, form: CsvForm) -> None:
        """Raises `Problem("malformed_body")`, as reading rows does."""
        self.form = form
        self.n_dropped = 0
        self._source = _Records(body, form)
        self._records = self._source.read()
        self.header: Row = next(self._records, [])

    @property
    def line(self) -> int:
        """Where the last row ended that was read."""
        return self._source.line

    def rows(self) -> Iterator[Row]:
        """Blank lines are no rows, nor are those at the end that are empty in every cell, below one that is not."""
        held: list[Row] = []
        has_row = False
        for record in self._records:
            if not record:
                continue
            if (not record[0] or record[0].isspace()) and not any(map(str.strip, record)):
                if has_row:
                    held.append(record)
                    continue
            else:
                has_row = True
            if held:
                yield from held
                held = []
            yield record
        self.n_dropped = len(held)


def read_csv(body: bytes, charset: str | None, names: Names, default: str = "") -> CsvText:
    """`charset`: None where it is to be recognised; `default`: what it is then, if it is no UTF-8; "" for none.

    `names`: columns that the header probably has.

    Raises `Problem("malformed_body")`.
    """
    if not body.removeprefix(_BOM).strip():
        raise Problem("malformed_body", "The body is empty.")
    charset = charset or recognised_charset(body, default)
    stated = _stated_separator(body, charset)
    if stated is not None:
        return CsvText(body, CsvForm(charset, stated, has_separator_line=True))
    return CsvText(body, CsvForm(charset, _separator(body, charset, names)))


def recognised_charset(body: bytes, default: str = "") -> str:
    """UTF-8 unless the bytes can't be; then the default.

    Without one it is what Excel writes on a Japanese Windows, where they look like it.

    Raises `Problem("malformed_body")` with the position where it is neither.
    """
    if body.startswith(_UTF16_BOMS):
        return "utf-16"
    if body.isascii() or body.startswith(_BOM):
        return "utf-8"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        if default:
            return default
        if _is_cp932(body):
            return "cp932"
        words = (
            f"The body is neither utf-8 nor cp932: invalid byte at position {error.start}. "
            "Send UTF-8, or name the charset in the content type, such as text/csv; charset=windows-1252."
        )
        raise Problem("malformed_body", words) from None
    return "utf-8"


def _is_cp932(body: bytes) -> bool:
    """Most bytes of most charsets are valid in it; text has characters of two bytes side by side, or alone in a cell.

    Python also lets pass bytes that stand for no character in it, as private ones.
    """
    try:
        text = body.decode("cp932")
    except UnicodeDecodeError:
        return False
    return not _NO_CHARACTERS.intersection(text) and _JAPANESE.search(text) is not None


def _stated_separator(body: bytes, charset: str) -> str | None:
    """Of a first line `sep=;`, which some programs write for others. Raises `Problem("malformed_body")`."""
    if b"=" not in body[: 4 * _SEPARATOR_LINE_CHARACTERS]:
        return None
    stream = io.TextIOWrapper(io.BytesIO(body[: 4 * _SEPARATOR_LINE_CHARACTERS + 4]), _encoding(charset), "replace", "")
    try:
        match = _SEPARATOR_LINE.fullmatch(stream.readline())
    except UnicodeError:  # UTF-16 without its mark: told when the rows are read
        return None
    if match is None:
        return None
    if match[1] not in _STATED_SEPARATORS:
        known = ", ".join(_STATED_SEPARATORS.values())
        raise Problem("malformed_body", f"The first line says sep={match[1]}; cells may be separated by {known}.")
    return match[1]


def _separator(body: bytes, charset: str, names: Names) -> str:
    """The one that finds most of the names in the header, or if none most cells; a comma where all are equal."""
    best, most = ",", (-1, 0)
    for separator in _SEPARATORS:
        try:
            header = next(_Records(body, CsvForm(charset, separator)).read(), [])
        except Problem:  # a header that this separator can't read
            continue
        if names.exact and names.exact.issubset(header):
            return separator
        n_known = len({name for name in map(names.find, header) if name is not None})
        worth = n_known, 0 if n_known else len(header)
        if worth > most:
            best, most = separator, worth
    return best


def _encoding(charset: str) -> str:
    return "utf-8-sig" if charset == "utf-8" else charset


class _Records:
    """The records of a body, the header first."""

    def __init__(self, body: bytes, form: CsvForm) -> None:
        self._body = body
        self._form = form
        self._encoding = _encoding(form.charset)
        self._reader: Any = None  # csv has no name for its type
        self._n_skipped = int(form.has_separator_line)

    @property
    def line(self) -> int:
        """Where the last record ended that was read."""
        return int(self._reader.line_num) + self._n_skipped

    def read(self) -> Iterator[Row]:
        """Raises `Problem("malformed_body")`, of bad CSV with the line."""
        try:
            yield from self._opened()
        except UnicodeError:  # its own position is counted from the piece it was found in
            start, charset = self._first_undecodable(), self._form.charset
            raise Problem("malformed_body", f"The body is not {charset}: invalid byte at position {start}.") from None

    def _opened(self) -> Iterator[Row]:
        text = self._text()
        if self._form.has_separator_line:
            text.readline()
        self._reader = csv.reader(text, delimiter=self._form.separator, strict=True)
        try:
            yield from self._reader
        except csv.Error as error:
            raise Problem("malformed_body", f"The body is not valid CSV: line {self.line}: {error}.") from None

    def _text(self) -> io.TextIOBase:
        """Blanks around a quoted cell are no part of the CSV; Python's reader would take the quotes for text."""
        if not _may_have_blanks_around_quotes(self._body, self._form):
            return io.TextIOWrapper(io.BytesIO(self._body), self._encoding, newline="")
        text = self._body.decode(self._encoding)
        return io.StringIO(_quoted_cell(self._form.separator).sub(r"\1\2", text), newline="")

    def _first_undecodable(self) -> int:
        """The position in the whole body; 0 where it lacks the mark that UTF-16 begins with."""
        is_marked = self._encoding == "utf-8-sig" and self._body.startswith(_BOM)
        try:
            self._body.decode("utf-8" if is_marked else self._encoding)
        except UnicodeDecodeError as error:
            return error.start
        return 0


def _may_have_blanks_around_quotes(body: bytes, form: CsvForm) -> bool:
    if b'"' not in body:
        return False
    if form.charset == "utf-16":
        return True
    tabs = b'\t"' in body or b'"\t' in body
    return b' "' in body or b'" ' in body or (tabs and form.separator != "\t")


def _quoted_cell(separator: str) -> re.Pattern[str]:
    """A whole quoted cell and what is before it; one at a time, so that a quote inside a cell opens none."""
    part, blank = re.escape(separator), " " if separator == "\t" else "[ \t]"
    quoted = '"[^"]*+(?:""[^"]*+)*+"'
    return re.compile(rf"(\A|{part}|[\r\n]){blank}*({quoted}){blank}*(?={part}|[\r\n]|\Z)")


class DecimalMarks:
    """The first number with a decimal comma and the first with a point, of each column of one CSV.

    Two marks in one column are two meanings: 1.234 beside 0,5 is more likely a thousand than one and a quarter.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[int, str]]] = {}

    def note(self, column: str, cell: str, row: int) -> None:
        for mark in ",.":
            if mark in cell:
                self._found.setdefault(column, {}).setdefault(mark, (row, cell.strip()))

    def knows(self, column: str, mark: str) -> bool:
        return mark in self._found.get(column, {})

    def conflicts(self) -> list[tuple[str, list[tuple[int, str]]]]:
        """Columns with both marks, and for each the two cells with their rows, the earlier one first."""
        return [(column, sorted(found.values())) for column, found in self._found.items() if len(found) > 1]
