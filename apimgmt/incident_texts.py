"""The sentences for the reasons of incidents, which gateways store as codes (`contract.incidents`)."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from contract.incidents import ReasonCode, decode_reason

SENTENCES: dict[ReasonCode, str | Promise] = {
    "process_ended": _("The model ended its process (%(end)s)."),
    "batch_process_ended": _("A large body ended its process (%(end)s)."),
    "time_limit": _("The model took longer than %(timeout_s)g seconds."),
    "memory_limit": _("The model needs more memory than it may have."),
    "worker_crashed": _("The worker crashed: %(crash)s."),
    "unknown_class": _("It answered with a class that is not in its description. That request got model_failed."),
    "not_probabilities": _("It gave probabilities that are not between 0 and 1. That request got model_failed."),
    "wrong_shape": _("It gave another number of answers than its description says. That request got model_failed."),
}


def reason_text(stored: str) -> str:
    """In the reader's language. The sentence that an older gateway stored as it is; "" for a code of a later one."""
    reason = decode_reason(stored)
    if reason is None:
        return stored
    sentence = SENTENCES.get(reason.code)  # type: ignore[call-overload]  # any code may be stored
    try:
        return str(sentence) % reason.params if sentence else ""
    except (KeyError, TypeError):  # a later gateway gives other parameters
        return ""
