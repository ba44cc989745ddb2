"""What the database keeps of a sentence is its code and parameters; it is translated whole when it is read."""

from __future__ import annotations

import re

import pytest
from django.utils.translation import override

from apimgmt import sentences
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.services.building import queue_build
from apimgmt.models import ApiEvent, Build, BuildKind, Status
from apimgmt.sentences import SENTENCES, event_reason, facts, message, sentence
from tests.factories import actor_for, make_api, make_user


def test_a_message_is_plain_json_with_a_known_code():
    stored = message("file_verified", digest="12ab", size_bytes=84_000)

    assert stored == {"code": "file_verified", "params": {"digest": "12ab", "size_bytes": 84_000}}
    assert sentence(stored) == "sha256 12ab… · 84 KB"
    with pytest.raises(KeyError):
        message("no_such_code")


@pytest.mark.parametrize(("columns", "text"), [(1, "1 column"), (4, "4 columns")])
def test_plurals_are_chosen_when_it_is_read(columns, text):
    assert sentence(message("columns", columns=columns)) == text


def test_what_earlier_releases_wrote_is_shown_as_it_is():
    assert sentence("No table.") == "No table."
    assert facts("1 row in 12 µs") == "1 row in 12 µs"
    assert event_reason({"stage": "inspect", "reason": "No table."}) == "No table."


def test_a_code_of_a_later_release_is_shown_instead_of_an_error():
    assert sentence({"code": "from_the_future", "params": {}}) == "from_the_future"


def test_a_sentence_quotes_per_cent_signs_and_keeps_no_zero_byte():
    stored = message("quoted", text="50% of\x00 it %(text)s")

    assert sentence(stored) == "50% of it %(text)s"


def test_the_reader_s_language_counts_not_the_writer_s(monkeypatch):
    from django.utils.functional import lazy
    from django.utils.translation import get_language

    monkeypatch.setitem(SENTENCES, "no_gateway", lazy(lambda: f"in {get_language()}", str)())
    with override("fr"):
        stored = message("no_gateway")

    with override("de"):
        assert sentence(stored) == "in de"


def test_every_sentence_is_whole():
    """Codes that are told as reasons start with a capital and end with a full stop; facts stand alone."""
    facts_alone = {"file_verified", "columns", "classes", "row_time", "revision", "workers", "quoted"}
    for code in SENTENCES.keys() - facts_alone:
        text = re.sub(r"%\(\w+\)[sd]", "X", str(sentences.SENTENCES[code]))
        assert re.fullmatch(r"[A-Z].*[.X]", text), code


@pytest.mark.django_db
def test_a_failed_build_stores_codes_only():
    actor = actor_for(make_user("operator"))
    api = make_api(status=Status.BUILDING)
    queue_build(api, BuildKind.START, api.version)
    build = Build.objects.get(api=api)

    transitions.fail(build.pk, actor, stage="confirm", reasons=[message("worker_behind", worker="h:1/0")])

    build.refresh_from_db()
    assert (build.reason, build.reasons) == ("", [{"code": "worker_behind", "params": {"worker": "h:1/0"}}])
    assert build.failure_text == "Worker h:1/0 has not applied the change yet."
    event = ApiEvent.objects.get(api=api, verb="build failed")
    assert event.detail["reasons"] == build.reasons
    assert event_reason(event.detail) == build.failure_text
