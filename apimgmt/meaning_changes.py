"""What callers would notice of another version: classes, targets and the kind of answer."""

from __future__ import annotations

from django.utils.translation import gettext as _

from apimgmt.models import ModelVersion
from contract.meaning import Meaning
from contract.model_spec import ModelSpec
from inference.meaning.classes import label_text

_MOST_NAMED = 10


def version_changes(old: ModelVersion, new: ModelVersion) -> list[str]:
    """As `meaning_changes`, of two stored versions."""
    return meaning_changes(old.described(), new.described())


def meaning_changes(old: ModelSpec, new: ModelSpec) -> list[str]:
    """A sentence for each; none where callers get the same kind of answer."""
    changes = []
    if old.task != new.task:
        changes.append(_("The task changes from %(old)s to %(new)s.") % {"old": old.task, "new": new.task})
    changes += _class_changes(old, new)
    if old.task == new.task == "regression" and _targets(old) != _targets(new):
        words = {"old": _listed(_targets(old)), "new": _listed(_targets(new))}
        changes.append(_("The predicted numbers change from %(old)s to %(new)s.") % words)
    if old.meaning is not None and new.meaning is not None and _roles(old.meaning) != _roles(new.meaning):
        words = {"old": _listed(_roles(old.meaning)), "new": _listed(_roles(new.meaning))}
        changes.append(_("The answer changes from %(old)s to %(new)s.") % words)
    return changes


def _class_changes(old: ModelSpec, new: ModelSpec) -> list[str]:
    changes = []
    if gone := [name for name in old.classes if name not in set(new.classes)]:
        changes.append(_("These classes go: %s.") % _listed(gone))
    if added := [name for name in new.classes if name not in set(old.classes)]:
        changes.append(_("These classes come: %s.") % _listed(added))
    if not gone and not added and old.classes != new.classes:
        changes.append(_("The classes come in another order: %s.") % _listed(new.classes))
    return changes + _renamed_labels(old.meaning, new.meaning)


def _renamed_labels(old: Meaning | None, new: Meaning | None) -> list[str]:
    """Where the same label has another of the same names. Without a label output there are positions only."""
    if old is None or new is None or not (old.output("label") and new.output("label")):
        return []
    if {one.name for one in old.classes} != {one.name for one in new.classes}:
        return []
    before = {label_text(one.label): one.name for one in old.classes}
    renamed = [
        _("%(label)s was %(old)s and becomes %(new)s") % {"label": label, "old": before[label], "new": one.name}
        for one in new.classes
        if (label := label_text(one.label)) in before and before[label] != one.name
    ]
    return [_("The model's labels get other names: %s.") % "; ".join(renamed[:_MOST_NAMED])] if renamed else []


def _targets(spec: ModelSpec) -> tuple[str, ...]:
    return spec.meaning.targets if spec.meaning is not None else (spec.target,)


def _roles(meaning: Meaning) -> list[str]:
    """The kinds of answer, without how many numbers there are: those are the targets. Where numbers tell the class, it
    makes no difference to callers whether the graph gives its label, too."""
    roles = {output.role: output.is_single for output in meaning.outputs if output.role != "ignored"}
    if len(roles) > 1:
        roles.pop("label", None)
    return sorted(_("one score") if is_single else role for role, is_single in roles.items())


def _listed(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown + (_(" and %d more") % (len(names) - _MOST_NAMED) if len(names) > _MOST_NAMED else "")
