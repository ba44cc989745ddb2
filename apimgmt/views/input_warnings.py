"""The small table of odd values that callers sent today. The gateway counts them, without the values."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.models import InputWarning, PredictionAPI

MOST_LINES = 20


@dataclass(frozen=True)
class WarningLine:
    """One column and what was odd in it: "3 rows with an unknown value"."""

    column: str
    sentence: str


def warnings_of_today(api: PredictionAPI) -> list[WarningLine]:
    """The most frequent first. Days are the installation's, as those of the counts."""
    found = InputWarning.objects.filter(api_id=api.pk, day=timezone.localdate()).order_by("-count", "column", "code")
    return [WarningLine(one.column, _sentence(one)) for one in found[:MOST_LINES]]


def _sentence(warning: InputWarning) -> str:
    number = {"count": warning.count}
    match warning.code:
        case "unknown_category":
            words = ngettext(
                "%(count)d row with an unknown value", "%(count)d rows with an unknown value", warning.count
            )
        case "out_of_range":
            words = ngettext(
                "%(count)d row with a number out of range", "%(count)d rows with a number out of range", warning.count
            )
        case "inexact_number":
            words = ngettext(
                "%(count)d row with a whole number too large to be exact",
                "%(count)d rows with a whole number too large to be exact",
                warning.count,
            )
        case "empty_rows_dropped":
            words = ngettext(
                "%(count)d CSV with empty rows at its end", "%(count)d CSVs with empty rows at their end", warning.count
            )
        case _:
            return _("%(code)s: %(count)d") % {**number, "code": warning.code}
    return words % number
