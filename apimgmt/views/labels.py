"""The words and colours of the pages: one place for each thing that several pages say."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from apimgmt.lifecycle.confirmation import Confirmation
from apimgmt.models import Status
from contract.meaning import Role

Sentence = str | Promise

STATUS_TONES: dict[str, str] = {
    Status.BUILDING: "blue",
    Status.UPDATING: "blue",
    Status.OPERATING: "green",
    Status.STOPPED: "grey",
    Status.DELETING: "amber",
    Status.FAILED: "red",
    Status.DELETED: "grey",
}

# What a caller is answered with in each status, in the gateway's own codes.
CALLERS_GET: dict[str, Sentence] = {
    Status.BUILDING: gettext_lazy("Callers get 503 api_building until the gateways open it."),
    Status.STOPPED: gettext_lazy("Callers get 503 api_stopped."),
    Status.FAILED: gettext_lazy("Callers get 503 api_failed."),
    Status.DELETING: gettext_lazy("Callers get 503 api_deleting, and 404 unknown_api once it is gone."),
}

# What helps when a build failed at a stage.
WHAT_TO_DO: dict[str, Sentence] = {
    "verify": gettext_lazy(
        "Bring the file back into the model store and start the API again; or delete the API and launch a new version."
    ),
    "inspect": gettext_lazy(
        "Register a corrected file as a new version, delete this API and launch again."
        " If memory ran out, start it again."
    ),
    "self-test": gettext_lazy(
        "Check the sample row on the Overview tab, register a corrected version, delete this API and launch again."
    ),
    "publish": gettext_lazy("Start the API again."),
    "confirm": gettext_lazy("Fix the gateway named above, then start the API again."),
}

TASK_WORDS: dict[str, Sentence] = {
    "binary": pgettext_lazy("task of a model", "Binary classification"),
    "multiclass": pgettext_lazy("task of a model", "Multiclass classification"),
    "regression": pgettext_lazy("task of a model", "Regression"),
    "anomaly": pgettext_lazy("task of a model", "Anomaly detection"),
}

ROLE_WORDS: dict[Role, Sentence] = {
    "value": pgettext_lazy("role of an output", "Number that is predicted"),
    "label": pgettext_lazy("role of an output", "Class (label)"),
    "probabilities": pgettext_lazy("role of an output", "Probabilities"),
    "scores": pgettext_lazy("role of an output", "Scores"),
    "ignored": pgettext_lazy("role of an output", "Ignored"),
}

TYPE_WORDS: dict[str, Sentence] = {
    "float": pgettext_lazy("type of a column", "number"),
    "int": pgettext_lazy("type of a column", "whole number"),
    "string": pgettext_lazy("type of a column", "text"),
    "bool": pgettext_lazy("type of a column", "true or false"),
}

EVENT_WORDS: dict[str, Sentence] = {
    "launch": pgettext_lazy("event", "Launched"),
    "start": pgettext_lazy("event", "Started"),
    "publish": pgettext_lazy("event", "Published to gateways"),
    "operating": pgettext_lazy("event", "Operating"),
    "build failed": pgettext_lazy("event", "Build failed"),
    "update": pgettext_lazy("event", "Update started"),
    "take over": pgettext_lazy("event", "New version serves"),
    "update failed": pgettext_lazy("event", "Update failed"),
    "cancel": pgettext_lazy("event", "Build cancelled"),
    "stop": pgettext_lazy("event", "Stop asked for"),
    "stopped": pgettext_lazy("event", "Stopped"),
    "delete": pgettext_lazy("event", "Deletion asked for"),
    "deleted": pgettext_lazy("event", "Deleted"),
    "lock": pgettext_lazy("event", "Locked"),
    "unlock": pgettext_lazy("event", "Unlocked"),
    "upgrade": pgettext_lazy("event", "Upgraded to official"),
    "allow": pgettext_lazy("event", "Networks added"),
    "disallow": pgettext_lazy("event", "Network removed"),
    "show key": pgettext_lazy("event", "Key shown"),
    "describe": pgettext_lazy("event", "Description settings changed"),
    "roll key": pgettext_lazy("event", "Key rolled"),
}


# The same events as the subject of "…, confirmed by 4 of 4 workers".
CHANGE_WORDS: dict[str, Sentence] = {
    "launch": pgettext_lazy("change", "Launch"),
    "start": pgettext_lazy("change", "Start"),
    "publish": pgettext_lazy("change", "Opened to callers"),
    "update": pgettext_lazy("change", "Update"),
    "take over": pgettext_lazy("change", "New version"),
    "update failed": pgettext_lazy("change", "Fall back to the old version"),
    "build failed": pgettext_lazy("change", "Withdrawal of the failed build"),
    "cancel": pgettext_lazy("change", "Cancellation"),
    "stop": pgettext_lazy("change", "Stop"),
    "delete": pgettext_lazy("change", "Deletion"),
    "upgrade": pgettext_lazy("change", "Upgrade to official"),
    "allow": pgettext_lazy("change", "IP whitelist"),
    "disallow": pgettext_lazy("change", "IP whitelist"),
    "describe": pgettext_lazy("change", "Description settings"),
    "roll key": pgettext_lazy("change", "New key"),
}


# Switches of an API, by the column that holds them.
SWITCH_WORDS = {
    "hides_schema": gettext_lazy("Hide the schema in errors"),
    "has_public_description": gettext_lazy("Public description"),
}
CSV_CHARSET_WORD = gettext_lazy("Charset of CSVs")


def change_word(verb: str) -> str:
    """An event that gateways had to obey, as a noun."""
    return str(CHANGE_WORDS.get(verb, event_word(verb)))


def event_word(verb: str) -> str:
    """An event's verb as people read it."""
    return str(EVENT_WORDS.get(verb, verb))


def stopping_sentence(seen: Confirmation) -> str:
    """How far a stop has come: "Stopping… 3 of 4 workers"."""
    return _counted(
        seen,
        ngettext(
            "Stopping… %(confirmed)d of %(counted)d worker",
            "Stopping… %(confirmed)d of %(counted)d workers",
            seen.counted,
        ),
    )


def deleting_sentence(seen: Confirmation) -> str:
    """How far a deletion has come: "Deleting… 3 of 4 workers"."""
    return _counted(
        seen,
        ngettext(
            "Deleting… %(confirmed)d of %(counted)d worker",
            "Deleting… %(confirmed)d of %(counted)d workers",
            seen.counted,
        ),
    )


def _counted(seen: Confirmation, sentence: str) -> str:
    return sentence % {"confirmed": seen.confirmed, "counted": seen.counted}
