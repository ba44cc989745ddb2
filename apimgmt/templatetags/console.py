"""Tags and filters of the console's templates: icons, status words, times, numbers. None of them asks the database."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from apimgmt.lifecycle.confirmation import GatewaySummary
from apimgmt.lifecycle.reports import gateways_sentence
from apimgmt.units import size_text

register = template.Library()

# Line icons on a 16 x 16 grid, drawn in the text's colour.
_ICONS = {
    "lock": '<rect x="3" y="7" width="10" height="7" rx="1.5"/><path d="M5 7V5a3 3 0 0 1 6 0v2"/>',
    "check": '<path d="M3 8.5 6.5 12 13 4.5"/>',
    "cross": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "alert": '<path d="M8 2 1.5 13.5h13zM8 6.5v3.2M8 11.6v.2"/>',
    "info": '<circle cx="8" cy="8" r="6.2"/><path d="M8 7.3v3.9M8 4.9v.2"/>',
    "chevron": '<path d="m4.5 6.5 3.5 3.5 3.5-3.5"/>',
    "external": '<path d="M6 3.5H3.5v9h9V10M9 3h4v4M13 3 7.5 8.5"/>',
    "user": '<circle cx="8" cy="5.5" r="2.7"/><path d="M2.8 13.6c.6-2.6 2.7-3.9 5.2-3.9s4.6 1.3 5.2 3.9"/>',
    "theme": '<circle cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/>',
    "cube": '<path d="M8 1.8 13.6 5v6L8 14.2 2.4 11V5zM2.6 5.1 8 8.2l5.4-3.1M8 8.2v5.9"/>',
    "workspace": '<rect x="2" y="3" width="12" height="10" rx="1.5"/><path d="M2 6.5h12M6 6.5V13"/>',
    "clock": '<circle cx="8" cy="8" r="6.2"/><path d="M8 4.5V8l2.4 1.6"/>',
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A decorative icon; the words beside it carry the meaning."""
    return mark_safe(  # noqa: S308 (constant text of this module)
        '<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"'
        f' stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">{_ICONS[name]}</svg>'
    )


@register.filter
def count(value: int | None) -> str:
    """1204 → 1,204."""
    return "" if value is None else f"{value:,}"


@register.filter
def figure(value: float | int | None) -> str:
    """A number of a model's description as a person writes it: 44.45, 2007, 12,000, without float noise."""
    if value is None:
        return ""
    if isinstance(value, bool) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    return f"{value:.6g}"


@register.filter
def seconds(value: float | None) -> str:
    """0.0834 → "0.08 s"; 75 → "1 min 15 s"."""
    if value is None:
        return ""
    if value < 0.01:
        return _("< 0.01 s")
    if value < 60:
        return _("%(number)s s") % {"number": f"{value:.2f}" if value < 10 else f"{value:.1f}"}
    minutes, rest = divmod(round(value), 60)
    return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}


register.filter("size", size_text)


_NOTICE_COLORS = {"success": "green", "error": "red", "warning": "amber"}
_NOTICE_ICONS = {"success": "check", "info": "info"}
_STAGE_WORDS = {
    "waiting": pgettext_lazy("build stage", "waiting"),
    "running": pgettext_lazy("build stage", "running"),
    "done": pgettext_lazy("build stage", "done"),
    "failed": pgettext_lazy("build stage", "failed"),
}


@register.filter
def notice_color(tone: str) -> str:
    """The colour of a notice, by its tone (of Django's messages)."""
    return _NOTICE_COLORS.get(tone, "blue")


@register.filter
def notice_icon(tone: str) -> str:
    return _NOTICE_ICONS.get(tone, "alert")


@register.filter
def stage_word(state: str) -> str:
    """A build stage's state for those who can't see its mark."""
    return str(_STAGE_WORDS[state])


@register.filter
def gateways_tone(summary: GatewaySummary) -> str:
    """Green when every worker is in step, red when there is none, amber when one may answer by an old rule."""
    if not summary.counted:
        return "red"
    return "green" if summary.in_step == summary.counted and not summary.dismissed else "amber"


register.filter("gateways_text", gateways_sentence)


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """A local time, its zone on hover: <time>23 Nov 2026, 14:03:20</time>."""
    if value is None:
        return ""
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="milliseconds"),
        f"{local.tzname()} ({local:%z})",
        date_format(local, "j M Y, H:i:s"),
    )


@register.filter
def since(value: datetime | None) -> SafeString | str:
    """A time that a script turns into "2 min ago"; without scripts the local time itself."""
    if value is None:
        return ""
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        value.isoformat(timespec="milliseconds"),
        f"{date_format(local, 'j M Y, H:i:s')} {local.tzname()}",
        date_format(local, "j M Y, H:i"),
    )


@register.filter
def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
