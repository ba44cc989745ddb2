"""Charsets that a CSV may be in: as a content type names them, and as the setting of an API does."""

from __future__ import annotations

from typing import Final

# A fixed list: Python's own codecs include some that are no charset, and some that take quadratic time.
BY_NAME: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "utf-16": "utf-16",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "windows-1252",
    "cp1252": "windows-1252",
    "windows-31j": "cp932",
    "cp932": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "shift_jis": "cp932",  # what says Shift_JIS is mostly made by Windows, whose superset this is
    "euc-jp": "euc-jp",
}
CHARSETS: Final = tuple(dict.fromkeys(BY_NAME.values()))
DEFAULTS: Final = tuple(name for name in CHARSETS if not name.startswith("utf"))
"""What an API may take bytes for that are no UTF-8: UTF-8 and UTF-16 are recognised by themselves."""
