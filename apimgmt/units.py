"""Quantities as people read them."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import time_format


def size_text(size_bytes: int) -> str:
    """Bytes with a unit, in steps of 1,000: 84 KB."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size_bytes >= step:
            number = size_bytes / step
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{size_bytes} B"


def time_text(moment: datetime) -> str:
    """The local time of day: 14:03:20."""
    return time_format(timezone.localtime(moment), "H:i:s")
