"""docs/life-cycle.md shows the transition table; this keeps it the code's."""

from __future__ import annotations

from django.conf import settings

from apimgmt.lifecycle.transitions import NOT_DELETED, NOT_ENDING, TRANSITIONS, Transition
from apimgmt.roles import ROLE_PERMISSIONS

HEADER = (
    "| verb | who | from | at once | gateways obey | once confirmed | if it fails | refused when | asks when locked |"
)


def roles_with(permission: str) -> str:
    """The first role that has the right, as the others have more."""
    return next(role for role, permissions in ROLE_PERMISSIONS.items() if permission in permissions)


def names(statuses) -> str:
    if statuses == NOT_DELETED:
        return "any"
    if statuses == NOT_ENDING:
        return "any but deleting"
    return ", ".join(sorted(statuses)) or "no API on the model"


def obstacles(rule: Transition) -> str:
    found = ["being stopped"] if rule.is_refused_while_stopping else []
    found += ["locked"] if rule.is_refused_when_locked else []
    found += [summary[:1].lower() + summary[1:-1] for check in rule.checks if (summary := check.__doc__)]
    return "; ".join(found) or "-"


def row(verb: str, rule: Transition) -> str:
    cells = [
        verb,
        roles_with(rule.permission),
        names(rule.sources),
        rule.status or "-",
        rule.target or "-",
        rule.confirmed_status or "-",
        rule.failed_status or "-",
        obstacles(rule),
        "yes" if rule.locked_question else "-",
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def test_the_documented_table_is_the_code_s():
    text = (settings.BASE_DIR / "docs" / "life-cycle.md").read_text()
    expected = "\n".join([HEADER, "|---" * 9 + "|", *(row(verb, rule) for verb, rule in TRANSITIONS.items())])

    assert expected in text, f"docs/life-cycle.md should show:\n{expected}"
