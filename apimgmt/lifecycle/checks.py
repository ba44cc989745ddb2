"""What refuses a verb besides the API's status. The transition table names these; each returns the reason, or None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apimgmt.lifecycle.options import official_refusal
from apimgmt.lifecycle.selectors import newest_version_number
from apimgmt.models import ApiType, PredictionAPI


@dataclass(frozen=True)
class Arguments:
    """What a verb was asked for with. `version` None: the newest one for an update, the same one for a start."""

    version: int | None = None


Check = Callable[[PredictionAPI, Arguments], str | None]


def not_locked_yet(api: PredictionAPI, arguments: Arguments) -> str | None:
    """Locked already."""
    return _("The API is locked already.") if api.is_locked else None


def locked(api: PredictionAPI, arguments: Arguments) -> str | None:
    """Not locked."""
    return None if api.is_locked else _("The API is not locked.")


def still_a_trial(api: PredictionAPI, arguments: Arguments) -> str | None:
    """Official already."""
    return _("The API is official already.") if api.type == ApiType.OFFICIAL else None


def free_option(api: PredictionAPI, arguments: Arguments) -> str | None:
    """Trial edition, or no free API option."""
    return official_refusal(api.model.workspace)


def another_version(api: PredictionAPI, arguments: Arguments) -> str | None:
    """No such version, or served already."""
    if arguments.version is None:
        is_newest_served = newest_version_number(api.model) == api.version.number
        return _("The newest version is served already.") if is_newest_served else None
    if arguments.version == api.version.number:
        return _("Version %(version)d is served already.") % {"version": arguments.version}
    return known_version(api, arguments)


def known_version(api: PredictionAPI, arguments: Arguments) -> str | None:
    """No such version."""
    number = arguments.version
    if number is None or api.model.versions.filter(number=number).exists():
        return None
    return _("The model has no version %(version)d.") % {"version": number}
