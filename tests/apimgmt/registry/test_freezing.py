"""Versions of earlier releases: what they mean is written down once, what is not certain is listed and settled."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from apimgmt import tasks
from apimgmt.meaning_changes import meaning_changes
from apimgmt.models import ModelVersion, PredictionAPI, Workspace
from apimgmt.registry import freezing, settling
from contract.meaning import meaning_from_json
from contract.model_store import stored_path
from inference.sandbox.inspection import InspectionChild
from tests.apimgmt.registry.test_register_page import signed_in
from tests.factories import make_api, make_model, make_user, make_version
from tests.meant_models import choosing
from tests.model_files import Made, diabetes, wine

RED_WHITE = {"zipmap": False, "first_label": 1, "names": ("1", "2", "3")}


@pytest.fixture
def put(store: Path, workspace: Workspace) -> Any:
    """Stores a file with a version of an earlier release."""

    def stored(made: Made) -> ModelVersion:
        sha256 = hashlib.sha256(made[1]).hexdigest()
        path = stored_path(store, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[1])
        return make_version(make_model(workspace, versions=0), without_meaning(made), sha256=sha256)

    return stored


def without_meaning(made: Made) -> Any:
    return msgspec.structs.replace(made[0], meaning=None)


def by_batch() -> Made:
    """Labels 1 and 2, called "0" and "1": a row's class depended on the rows beside it."""
    return choosing([1, 2], names=["0", "1"], width=2)


def commanded(*options: str) -> str:
    out = StringIO()
    call_command("meanings", *options, stdout=out)
    return out.getvalue()


def test_the_task_writes_down_each_version_once(put: Any) -> None:
    versions = [put(diabetes()), put(wine(**RED_WHITE))]

    tasks.freeze_meanings()

    for version in versions:
        version.refresh_from_db()
    assert [meaning_from_json(one.meaning).targets for one in versions] == [("progression",), ()]
    assert [one.label for one in meaning_from_json(versions[1].meaning).classes] == [1, 2, 3]
    assert not freezing.pending().exists()


def test_nothing_that_gateways_obey_changes(put: Any) -> None:
    version = put(diabetes())
    api = make_api(version.model)
    revision = PredictionAPI.objects.get(pk=api.pk).revision

    tasks.freeze_meanings()

    version.refresh_from_db()
    assert version.meaning is not None
    assert PredictionAPI.objects.get(pk=api.pk).revision == revision


def test_killed_in_the_middle_it_goes_on_with_the_next(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = put(diabetes()), put(wine(**RED_WHITE))
    real, seen = InspectionChild.freeze, []

    def dying(self: InspectionChild, *rest: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(self, *rest)

    monkeypatch.setattr(InspectionChild, "freeze", dying)
    with pytest.raises(KeyboardInterrupt):
        tasks.freeze_meanings()
    assert [one.pk for one in freezing.pending()] == [second.pk]

    tasks.freeze_meanings()

    first.refresh_from_db()
    assert first.meaning is not None
    assert not freezing.pending().exists()


def test_a_file_that_is_gone_is_told_and_not_tried_for_ever(put: Any, store: Path) -> None:
    version = put(diabetes())
    stored_path(store, version.sha256).unlink()

    tasks.freeze_meanings()

    assert not freezing.pending().exists()
    said = commanded()
    assert f"{version} (model {version.model_id}):" in said
    assert "is not in the model store" in said

    stored_path(store, version.sha256).write_bytes(diabetes()[1])
    assert "1 version(s) was written down" in commanded("--again")
    assert "Every version's meaning is certain" in commanded()


def test_one_that_can_not_even_be_decoded_is_in_nobodys_way(put: Any) -> None:
    broken, good = put(diabetes()), put(wine(**RED_WHITE))
    ModelVersion.objects.filter(pk=broken.pk).update(spec={"task": "dance"})

    tasks.freeze_meanings()

    good.refresh_from_db()
    assert good.meaning is not None
    assert not freezing.pending().exists()


def test_what_depended_on_the_batch_is_listed_with_its_reason(put: Any) -> None:
    version = put(by_batch())

    document = json.loads(commanded("--json"))

    assert document["written_down"] == 1
    [listed] = document["not_certain"]
    assert (listed["model_id"], listed["version"]) == (version.model_id, 1)
    assert "could depend on the rows beside it" in listed["why"][0]


def test_another_file_in_its_place_is_never_written_down(put: Any, store: Path) -> None:
    version = put(diabetes())
    stored_path(store, version.sha256).write_bytes(wine(**RED_WHITE)[1])

    assert "is not the one that was registered" in commanded()

    version.refresh_from_db()
    assert version.meaning is None


def test_settling_tells_no_change_where_callers_see_none(put: Any) -> None:
    """A label beside probabilities: the old rules did not look at it, a review does."""
    version = put(wine(zipmap=False, first_label=1, names=("red", "white", "rose")))
    tasks.freeze_meanings()
    version.refresh_from_db()
    old = version.described()

    draft = settling.review_again(version, user_id=1)

    assert draft.found is not None
    assert old.meaning is not None
    assert old.meaning.output("label") is None
    assert draft.found.spec.meaning is not None
    assert draft.found.spec.meaning.output("label") is not None
    assert meaning_changes(old, draft.found.spec) == []


def test_an_old_version_that_nobody_serves_is_history(put: Any) -> None:
    version = put(by_batch())
    tasks.freeze_meanings()
    assert freezing.has_open(ModelVersion.objects.all())

    make_version(version.model, msgspec.structs.replace(by_batch()[0]))

    assert not freezing.has_open(ModelVersion.objects.all())
    make_api(version.model, version=version)
    assert freezing.has_open(ModelVersion.objects.all())


def test_settling_on_the_page_makes_the_next_version_of_the_same_file(put: Any, workspace: Workspace) -> None:
    version = put(by_batch())
    tasks.freeze_meanings()
    operator = signed_in("operator", workspace)

    for address in (reverse("model-list"), reverse("model-versions", args=[version.model_id])):
        assert reverse("model-meanings") in operator.get(address).content.decode()
    page = operator.get(reverse("model-meanings")).content.decode()
    assert "could depend on the rows beside it" in page
    reply = operator.post(reverse("version-settle", args=[version.model_id]), {"version": "1"})
    assert reply.status_code == 303
    review = operator.get(reply.url).content.decode()
    assert version.model.name in review

    fields = dict(form_fields(review))
    saved = operator.post(reply.url, fields | {"save": "1"})

    assert saved.status_code == 303, saved.content.decode()
    newest = version.model.versions.get(number=2)
    assert newest.sha256 == version.sha256
    assert [(one.label, one.name) for one in meaning_from_json(newest.meaning).classes] == [(1, "0"), (2, "1")]
    assert "is certain" in operator.get(reverse("model-meanings")).content.decode()


def _is_sent(field: dict[str, str]) -> bool:
    kind = field.get("type")
    return kind not in {"submit", "file"} and (kind not in {"checkbox", "radio"} or "checked" in field)


def form_fields(page: str) -> list[tuple[str, str]]:
    """Names and values of the review's form as a browser would send them."""

    class Fields(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[tuple[str, str]] = []
            self._select = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = {name: value or "" for name, value in attrs}
            names = dict(attrs)
            if tag == "select":
                self._select = given.get("name", "")
            elif tag == "option" and "selected" in names:
                self.found.append((self._select, given.get("value", "")))
            elif tag == "input" and given.get("name") and _is_sent(given):
                self.found.append((given["name"], given.get("value", "on")))

    parser = Fields()
    parser.feed(page)
    return parser.found


@pytest.mark.parametrize("number", ["", "9", "x", "9" * 30])
def test_a_version_that_is_not_there_is_not_found(put: Any, workspace: Workspace, number: str) -> None:
    version = put(by_batch())

    reply = signed_in("operator", workspace).post(
        reverse("version-settle", args=[version.model_id]), {"version": number}
    )

    assert reply.status_code == 404


def test_a_file_that_is_gone_cant_be_settled_and_says_so(put: Any, workspace: Workspace, store: Path) -> None:
    version = put(by_batch())
    stored_path(store, version.sha256).unlink()

    operator = signed_in("operator", workspace)
    reply = operator.post(reverse("version-settle", args=[version.model_id]), {"version": "1"}, follow=True)

    assert "can&#x27;t be reviewed again" in reply.content.decode()
    assert version.model.versions.count() == 1


def test_a_viewer_sees_the_list_and_settles_nothing(put: Any, workspace: Workspace) -> None:
    version = put(by_batch())
    tasks.freeze_meanings()
    client = Client()
    client.force_login(make_user("viewer", workspace))

    page = client.get(reverse("model-meanings")).content.decode()

    assert str(version) in page
    assert "Settle" not in page.partition("<table")[2]
    assert client.post(reverse("version-settle", args=[version.model_id]), {"version": "1"}).status_code == 403


def test_somebody_elses_versions_are_not_listed(put: Any) -> None:
    version = put(by_batch())
    tasks.freeze_meanings()
    client = Client()
    client.force_login(make_user("operator"))

    assert str(version) not in client.get(reverse("model-meanings")).content.decode()


def test_a_meaning_that_is_there_stays(put: Any) -> None:
    """Two tasks at once: the second finds the work done. The database would refuse another meaning."""
    version = put(diabetes())
    freezing.freeze(version)
    before = ModelVersion.objects.get(pk=version.pk).meaning

    freezing.freeze(version)

    assert ModelVersion.objects.get(pk=version.pk).meaning == before
    assert connection.connection is not None
