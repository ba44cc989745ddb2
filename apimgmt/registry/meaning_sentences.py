"""What is told of a model's meaning, from code and parameters: refusals, questions, notes, checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apimgmt.sentences import Message, sentence
from contract.meaning import OPEN_NOTES, Meaning, Note
from inference.sandbox.inspection_messages import CheckFound, QuestionFound

_LONGEST_ROW = 160


def _quoted(names: Iterable[object]) -> str:
    """With the blanks around them in sight."""
    return ", ".join(f"“{name}”" for name in names)


def _names(values: Any) -> str:
    return ", ".join(map(str, values))


def _mapping(params: Mapping[str, Any]) -> str:
    return json.dumps(params["mapping"], ensure_ascii=False)


def _formatted(text: Any, **how: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    """A sentence whose parameters are first put into words by `how`."""

    def sentence(params: Mapping[str, Any]) -> str:
        return str(text) % {**params, **{name: make(params[name]) for name, make in how.items()}}

    return sentence


def _no_served_output(outputs: Sequence[str], not_by_row: Sequence[str]) -> str:
    if not not_by_row:
        return _("No output is a prediction: %s. Say which one is, with its role.") % _names(outputs)
    return _(
        "No output is a prediction: %s doesn't give one line for each row, so nobody can tell which row a number "
        "is for. Export the model with one line a row."
    ) % _names(not_by_row)


def _labels_missing(labels: Sequence[str], strangers: Sequence[str]) -> str:
    words = {"labels": _names(labels), "strangers": _names(strangers)}
    if not strangers:
        return _("classes: the mapping lacks the labels %(labels)s.") % words
    return (
        _("classes: the mapping lacks the labels %(labels)s, and has %(strangers)s, which are no labels of this model.")
        % words
    )


_REFUSALS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "no_such_output": _formatted(
        gettext_lazy("outputs: the model has no output %(output)s. It has: %(outputs)s."), outputs=_names
    ),
    "role_twice": _formatted(
        gettext_lazy("outputs: only one output can be the %(role)s, not several: %(outputs)s."), outputs=_names
    ),
    "role_does_not_fit": _formatted(
        gettext_lazy("outputs: %(output)s can't be the %(role)s. It gives %(width)s value(s) a row of type %(kind)s.")
    ),
    "no_served_output": lambda params: _no_served_output(params["outputs"], params.get("not_by_row", ())),
    "random": _formatted(
        gettext_lazy(
            "The model answers the same row differently each time (%(outputs)s): it draws random numbers, as dropout "
            "does while a network is trained. Export it for inference."
        ),
        outputs=_names,
    ),
    "value_beside_class": _formatted(
        gettext_lazy("outputs: a model predicts either numbers or a class, not both. Set %(outputs)s to ignored."),
        outputs=_names,
    ),
    "scores_beside_probabilities": _formatted(
        gettext_lazy(
            "outputs: either probabilities or scores can be served, not both. Set %(output)s or %(probabilities)s to "
            "ignored."
        )
    ),
    "score_without_label": _formatted(
        gettext_lazy(
            "outputs: %(output)s gives one score a row, which tells no class without a label. Export the model with "
            "its label beside it, or with the probability of the second class."
        )
    ),
    "multilabel": _formatted(
        gettext_lazy(
            "This is a multilabel model: it gives several independent labels a row (%(outputs)s), and one API answers "
            "with one class. Export one classifier for each label."
        ),
        outputs=_names,
    ),
    "targets_count": _formatted(
        gettext_lazy("outputs: %(stated)s targets are named, the model predicts %(count)s numbers.")
    ),
    "zipmap_keys": _formatted(
        gettext_lazy("The model's labels (%(labels)s) are not the keys of its probabilities (%(keys)s)."),
        labels=_names,
        keys=_names,
    ),
    "classes_order": lambda params: (
        _(
            "classes: this list has the model's own labels in another order. A list is read by position, in the order "
            '%(labels)s. Write a mapping from label to name instead: "classes": %(mapping)s'
        )
        % {"labels": _names(params["labels"]), "mapping": _mapping(params)}
    ),
    "classes_text_by_list": lambda params: (
        _(
            "classes: the model's labels are %(labels)s. To show other names, write a mapping from label to name: "
            '"classes": %(mapping)s'
        )
        % {"labels": _names(params["labels"]), "mapping": _mapping(params)}
    ),
    "classes_count": _formatted(gettext_lazy("classes: %(stated)s are named, the model has %(count)s.")),
    "classes_label_missing": lambda params: _labels_missing(params["labels"], params.get("strangers", ())),
    "classes_label_extra": _formatted(
        gettext_lazy("classes: the model has no label %(labels)s. Its labels are %(known)s."),
        labels=_names,
        known=_names,
    ),
    "classes_label_type": _formatted(
        gettext_lazy('classes: "%(label)s" is no label of this model: its labels are of type %(expected)s.')
    ),
    "classes_same_name": _formatted(
        gettext_lazy("classes: two labels have the same name, or names that look the same: %(names)s."), names=_quoted
    ),
    "task_contradicts": _formatted(
        gettext_lazy("task: the metadata says %(stated)s, the model has %(count)s classes.")
    ),
    "classes_number": _formatted(
        gettext_lazy("classes: the model has %(count)s; from %(fewest)s to %(most)s can be served.")
    ),
}


def refusal_sentence(refusal: Note) -> str:
    """Why what is stated, or the model itself, can't be served."""
    return _REFUSALS[refusal.code](refusal.params)


# --- questions --------------------------------------------------------------------------------------------------------

_QUESTIONS = {
    "between_0_and_1": gettext_lazy(
        "The output %(output)s gives one number a row, always between 0 and 1. Is it a number that "
        "is predicted, or the probability of the second class?"
    ),
    "several_numbers": gettext_lazy(
        "The output %(output)s gives several numbers a row and there is no label. Are they numbers that are predicted, "
        "probabilities of classes, or scores?"
    ),
    "lone_whole_number": gettext_lazy(
        "The output %(output)s gives one whole number a row. Is it a number that is predicted, or the label of a class?"
    ),
    "many_values": gettext_lazy(
        "The output %(output)s gives whole numbers with many different values. Is it the label of a class, a number "
        "that is predicted, or neither?"
    ),
    "several_scores": gettext_lazy("Several outputs could be the probabilities or scores. What is %(output)s?"),
    "one_number_beside_one_class": gettext_lazy(
        "In all rows tried the model answered with the same class, so they don't show what %(output)s is: the "
        "probability of the second class, or a score? A sample CSV with rows of both classes settles it, too."
    ),
    "anomaly": gettext_lazy(
        "The labels are -1 and 1, with one score beside them. Is this an anomaly detector, or a classification "
        "into two classes?"
    ),
    "classes": gettext_lazy(
        "The model doesn't tell which of its numbers belongs to which class, and the rows tried didn't show it (labels "
        "seen: %(seen)s). Name the classes by label, or give a sample CSV in which every class comes."
    ),
}


def question_text(question: QuestionFound) -> str:
    """The question alone, as the page asks it beside its choices."""
    return str(_QUESTIONS[question.code]) % {"output": question.output, "seen": _names(question.seen)}


def question_sentence(question: QuestionFound) -> str:
    """The question, and the lines that would settle it."""
    lines = [f"--output {role}={question.output}" for role in question.choices if role != "ignored"]
    lines += [f'"task": "{task}"' for task in question.tasks]
    if question.code == "classes":
        example = {str(label): f"name of {label}" for label in question.seen[:3]}
        lines = [f'"classes": {json.dumps(example, ensure_ascii=False)}']
    where = _("Settle it with one of these lines, as options or in the metadata file:")
    return "\n".join([question_text(question), where, *(f"    {line}" for line in lines)])


# --- notes and checks -------------------------------------------------------------------------------------------------

_NOTES = {
    "ignored_echo": gettext_lazy("The output %(output)s repeats an input. It is ignored."),
    "ignored_shape": gettext_lazy("The output %(output)s doesn't give one line a row. It is ignored."),
    "ignored_leaf": gettext_lazy(
        "The output %(output)s gives whole numbers beside the prediction (leaf indices). It is ignored."
    ),
    "ignored_extra": gettext_lazy("The output %(output)s is not part of the prediction. It is ignored."),
    "ignored_second_label": gettext_lazy("The output %(output)s says the same class a second time. It is ignored."),
    "scores_not_probabilities": gettext_lazy(
        "The numbers of %(output)s are no probabilities: they are not between 0 and 1, or don't sum to 1. They are "
        "shown as scores."
    ),
    "score_not_probability": gettext_lazy(
        "The number of %(output)s is no probability of the second class. It is shown as a score."
    ),
    "frozen": gettext_lazy("Registered before outputs had roles: it answers as it always has."),
    "frozen_by_label": gettext_lazy(
        "Until now the class of a row could depend on the rows beside it. It goes by the label that %(output)s gives."
    ),
    "open_failed": gettext_lazy("The model could not compute a row that was tried: %(words)s"),
    "open_other": gettext_lazy("A model registered today would be read otherwise: %(outputs)s."),
}

_CHECKS = {
    "probabilities": gettext_lazy("Probabilities are between 0 and 1 and sum to 1"),
    "finite": gettext_lazy("Every answer is a finite number"),
    "agreement": gettext_lazy("The label is the class with the highest probability"),
    "threshold": gettext_lazy("The label is the class with the highest probability"),
    "batches": gettext_lazy("A row's numbers are the same alone and in a batch"),
    "batch_labels": gettext_lazy("A row's class is the same alone and in a batch"),
    "one_by_one": gettext_lazy("The model computes several rows at once"),
    "unknown_label": gettext_lazy("Every label is one of the classes"),
}

_BROKEN = {
    "probabilities": gettext_lazy("They are no probabilities in the row %(row)s: %(numbers)s, with the sum %(sum).4g."),
    "finite": gettext_lazy("%(rows)s of %(of)s rows give no finite number, such as %(row)s."),
    "agreement": gettext_lazy(
        "In %(rows)s of %(of)s clear rows the label is another class than the most probable one, such as in %(row)s."
    ),
    "threshold": gettext_lazy(
        "The model decides at the probability %(threshold)s of the second class instead of 0.5: in %(rows)s rows the "
        "label is not the most probable class. The label counts."
    ),
    "batches": gettext_lazy(
        "A row's answer depends on its batch in %(rows)s of %(of)s rows, such as %(row)s. Rows are computed one by one."
    ),
    "batch_labels": gettext_lazy(
        "A row's class depends on its batch in %(rows)s of %(of)s rows, such as %(row)s. Rows are computed one by one."
    ),
    "one_by_one": gettext_lazy(
        "The graph has room for one row. Rows that are sent together are computed one by one. Exported with an open "
        "number of rows it is faster."
    ),
    "unknown_label": gettext_lazy(
        "The model answers with the label %(label)s, which is none of its classes, in the row %(row)s."
    ),
}


def note_sentence(note: Note) -> str:
    """What the owner is told, also of a stored version."""
    if note.code.startswith("check_"):
        return _broken(note.code.removeprefix("check_"), note.params)
    if note.code.startswith("open_"):
        return _open_sentence(note.code.removeprefix("open_"), note.params)
    return str(_NOTES[note.code]) % note.params


def _open_sentence(kind: str, params: Mapping[str, Any]) -> str:
    """What a registration would ask or refuse today of a version that was stored before."""
    if kind == "question":
        return question_text(QuestionFound(params["code"], params["output"], seen=tuple(params["seen"])))
    if kind == "refusal":
        return refusal_sentence(Note(params["code"], params["params"]))
    if kind == "other":
        return str(_NOTES["open_other"]) % {"outputs": _names(params["outputs"])}
    if params["code"] == "failed":
        return str(_NOTES["open_failed"]) % params
    return _broken(params["code"], params["params"])


def check_title(check: CheckFound) -> str:
    """What was checked."""
    return str(_CHECKS[check.code])


def check_sentence(check: CheckFound) -> str:
    """What broke it; "" if it passed."""
    return "" if check.outcome == "passed" else _broken(check.code, {**check.params, "row": check.row})


def _broken(code: str, params: Mapping[str, Any]) -> str:
    words = dict(params)
    row = json.dumps(words.get("row"), ensure_ascii=False)
    words["row"] = row if len(row) <= _LONGEST_ROW else row[: _LONGEST_ROW - 1] + "…"
    if "numbers" in words:
        words["numbers"] = _names(f"{number:.4g}" for number in words["numbers"])
    return str(_BROKEN[code]) % words


def open_sentences(meaning: Meaning | None, fault: Message | None) -> list[str]:
    """Why a version's meaning is not certain."""
    if meaning is None:
        return [sentence(fault)] if fault else []
    return [note_sentence(note) for note in meaning.notes if note.code in OPEN_NOTES]
