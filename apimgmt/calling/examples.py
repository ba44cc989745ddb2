"""Calls that a person can copy: real address, real sample row."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from contract.model_spec import ModelSpec
from contract.problems import Problem, RowError
from inference import formats
from inference.answers import answer_shape
from inference.formats import FORMATS, FormatInfo
from inference.formats.description import answers, snippets


def sample_row(spec: ModelSpec) -> str:
    return json.dumps(snippets.ordered_sample(spec), ensure_ascii=False, indent=2)


def _key_header(key: str | None) -> str:
    """The header as a shell word: the key literally, or a variable that the shell fills in."""
    return f'"x-api-key: ${snippets.KEY_VARIABLE}"' if key is None else shlex.quote(f"x-api-key: {key}")


def curl_json(url: str, spec: ModelSpec, key: str | None = None) -> str:
    """A curl call for a POSIX shell; without a key it takes $API_KEY from the environment."""
    return snippets.curl(url, spec, _key_header(key))


def curl_csv(url: str) -> str:
    return curl_file(url, "text/csv")


def curl_file(url: str, media_type: str) -> str:
    """A curl call whose body is a file: rows.csv or body.json."""
    lines = [
        f"curl {shlex.quote(url)}",
        f"-H {_key_header(None)}",
        f"-H 'content-type: {media_type}'",
        f"--data-binary @{_file(media_type)}",
    ]
    return " \\\n  ".join(lines)


def _file(media_type: str) -> str:
    return "rows.csv" if media_type == "text/csv" else "body.json"


def python_call(url: str, spec: ModelSpec) -> str:
    """A call with nothing but Python's standard library."""
    return snippets.python(url, spec)


_CLASS_TEXTS: dict[str, str | Promise] = {
    "probabilities": _("The answer, with the class that the model names and the probability of each class:"),
    "scores": _(
        "The answer, with the class that the model names and the score of each class, which is no probability:"
    ),
    "score": _("The answer, with the class that the model names and its score, which is no probability:"),
    "": _("The answer, with the class that the model names:"),
}


def answer_text(spec: ModelSpec) -> str:
    """What stands in an answer, in the reader's language."""
    shape = answer_shape(spec)
    if shape.classes:
        return str(_CLASS_TEXTS[shape.numbers])
    if shape.has_one_target:
        return gettext("The answer; value is the predicted %(target)s:") % {"target": shape.targets[0]}
    return gettext("The answer, with each predicted value by its name:")


def reply_json(spec: ModelSpec) -> str:
    """The shape of an answer for one row, with made-up numbers."""
    return answers.sample_json(spec)


def reply_csv(spec: ModelSpec) -> str:
    """The same as CSV."""
    return answers.sample_csv_answer(spec)


WITH_A_CHAPTER = ("json", "csv")
"""Formats that the specifications page tells more of than what all have."""


@dataclass(frozen=True)
class FormatExample:
    """One request format, with a request for the sample row and a refusal in its shape.

    `call` sends `sample` from the file that `file` names.
    """

    anchor: str
    title: str
    path: str
    media_type: str
    body: str
    answer: str
    call: str
    file: str
    sample: str
    refusal: str


def format_examples(base: str, spec: ModelSpec | None, model_name: str) -> list[FormatExample]:
    """Every format that the model can be asked in, those with a chapter of their own first.

    Without a model there is no sample. `base` is the API's address, `model_name` goes into the paths.
    """
    return [
        FormatExample(
            anchor=one.anchor,
            title=one.title,
            path=one.path.format(model=model_name),
            media_type=one.media_type,
            body=one.body,
            answer=one.answer(answer_shape(spec) if spec else None),
            call=curl_file(f"{base}/{one.path.format(model=model_name)}", one.media_type),
            file=_file(one.media_type),
            sample=_laid_out(one.sample(spec)) if spec else "",
            refusal=refusal(one, _typo(spec)),
        )
        for one in sorted(FORMATS, key=lambda one: one.anchor not in WITH_A_CHAPTER)
        if spec is None or one.is_for(spec)
    ]


def refusal(one: FormatInfo, problem: Problem) -> str:
    """What the gateway answers on the format's path."""
    content, _media_type = formats.refusal(one.path.format(model="m"), problem, "0191b2c4d5e6", types_url())
    return _laid_out(content)


def codes_by_path(code: str) -> list[tuple[str, str]]:
    """How formats whose refusals have an `error_code` of their own write it: predicting path and that code."""
    found: dict[str, str] = {}
    for one in FORMATS:
        document = json.loads(refusal(one, Problem(code)))
        if "error_code" in document:
            found[one.path] = document["error_code"]
    return list(found.items())


def types_url() -> str:
    """The page on which each code has an anchor."""
    return f"{settings.ENVIRONMENT.console_url}/docs/inference-api/"


def _typo(spec: ModelSpec | None) -> Problem:
    """A column whose name lacks its last letter, as the gateway refuses it."""
    name = spec.columns[0].name if spec else "length"
    sent = name[:-1] or "x"
    fault = RowError(1, sent, f'the column "{name}"', f'a column called "{sent}"', name)
    return Problem("invalid_rows", "1 fault in 1 of 1 row.", errors=(fault,))


def _laid_out(content: bytes) -> str:
    """JSON in two columns of space, anything else as it is."""
    text = content.decode()
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
