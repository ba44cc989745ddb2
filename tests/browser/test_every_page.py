"""Every page, with the API in every state: nothing against the security policy, nothing in the browser's console (the
fixture `open_page` looks), nothing that hinders people with assistive technology, and no scrolling sideways."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern
from playwright.sync_api import Page, TimeoutError, expect
from sklearn.datasets import load_iris

from apimgmt.lifecycle.builds import BUILD_LOCK_CLASS
from apimgmt.lifecycle.stages import waiting_stages
from apimgmt.models import Build, BuildKind, Outcome, Status, Target
from apimgmt.urls import urlpatterns
from tests.apimgmt.registry import makers
from tests.browser.conftest import DIALOG, Subject, state
from tests.factories import make_api
from tests.live.conftest import LiveApi, command
from tests.stack import Stack

pytestmark = pytest.mark.long  # axe looks at each page in each state, theme and width

WIDTHS = (390, 320)
THEMES = ("light", "dark")
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
STICKING_OUT = """[...document.querySelectorAll("main *, header *, footer *")]
    .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .filter((e) => !e.closest(".table-wrap, .tabs, pre"))
    .map((e) => e.outerHTML.slice(0, 150)).slice(0, 3)"""
STATES = ("no API", "building", "updating", "operating", "locked", "stopped", "failed", "deleting")


# ── The states ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def no_builds(stack: Stack) -> Iterator[None]:
    """Builds asked for meanwhile are held by the lock that keeps two workers off one build, and cancelled."""
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        first = stack.psql("SELECT last_value FROM apimgmt_build_id_seq")[0][0]
        connection.execute(
            "SELECT pg_advisory_lock(%s, n) FROM generate_series(%s::int, %s::int) AS n",
            [BUILD_LOCK_CLASS, first, first + 3],
        )
        yield
        stack.psql("UPDATE apimgmt_build SET finished_at = now(), outcome = 'cancelled' WHERE id > %s", [first])


def failed_build(api: Any) -> None:
    stages = waiting_stages()
    stages[0] |= {"state": "done", "seconds": 0.01, "detail": "sha256 12ab… · 8 KB"}
    stages[1] |= {"state": "failed", "seconds": 0.4}
    Build.objects.create(
        api=api,
        kind=BuildKind.LAUNCH,
        version=api.version,
        stages=stages,
        finished_at=api.created_at,
        outcome=Outcome.FAILED,
        failed_stage="inspect",
        reason="The model needs more memory than a build may have.",
        log_tail="a line of the log\n" + "a very long word: " + "x" * 200,
    )


@pytest.fixture
def in_state(console: Stack, make_model: Callable[..., Subject], launch: Callable[..., LiveApi]) -> Any:
    """Put an API into a state and keep it there: `in_state("building")` → the model."""
    with ExitStack() as stack:

        def put(wanted: str) -> Subject:
            if wanted == "no API":
                return make_model()
            if wanted in {"operating", "locked", "updating"}:
                return served(wanted)
            model = make_model()
            if wanted == "building":
                stack.enter_context(no_builds(console))
                command(console, "launch_api", str(model.id), "--type", "trial")
                return model
            with console.orm():
                from apimgmt.models import Model

                # A deletion would end within a second: what gateways are asked for stays another word.
                target = {"deleting": {"target": Target.FAILED}}.get(wanted, {})
                api = make_api(Model.objects.get(pk=model.id), status=Status(wanted), **target)
                if wanted == "failed":
                    failed_build(api)
            return model

        def served(wanted: str) -> Subject:
            api = launch(type="official")
            name = console.psql("SELECT name FROM apimgmt_model WHERE id = %s", [api.model_id])[0][0]
            api.call()
            api.call(headers={"x-api-key": "wrong"})
            if wanted == "locked":
                api.do("lock")
            if wanted == "updating":
                command(console, "register_model", "demo/models/penguins.onnx", "--name", name, "--workspace", "Demo")
                stack.enter_context(no_builds(console))
                api.do("update", "2", wait=False)
            return Subject(api.model_id, name, f"{console.console_url}/models/{api.model_id}/api/")

        yield put


def iris_csv() -> str:
    """All rows, labelled by name."""
    data = load_iris()
    lines = [
        ",".join(map(str, [*row, data.target_names[kind]])) for row, kind in zip(data.data, data.target, strict=True)
    ]
    return "\n".join(["sepal length,sepal width,petal length,petal width,kind", *lines])


# ── What is looked at ──────────────────────────────────────────────────────────────────────────────────────


@cache
def axe() -> Axe:
    return Axe()


def barriers(page: Page) -> list[str]:
    """What axe finds that is serious or critical, in both themes."""
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        # Dark differs in its colours alone.
        rules = {} if theme == "light" else {"runOnly": ["color-contrast"]}
        seen = axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        for violation in seen:
            if violation["impact"] in {"serious", "critical"}:
                nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
                found.append(f"{page.url} {theme}: {violation['id']}: {nodes}")
    page.emulate_media(color_scheme="light")
    return found


def overflows(page: Page) -> list[str]:
    """The widths at which the page scrolls sideways, and what sticks out."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        try:
            page.wait_for_function(FITS, timeout=10_000)  # the graph follows the new width a moment later
        except TimeoutError:
            found.append(f"{page.url} at {width} px: {page.evaluate(STICKING_OUT)}")
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def api_addresses(model: Subject, wanted: str) -> dict[str, int]:
    """Every address below the Create API tab that GET is made for, from the table of addresses itself, and the status
    that an operator gets."""
    kept = [pattern for pattern in urlpatterns if str(pattern.pattern).startswith("models/<int:model_id>/")]
    return {
        _filled(pattern, model): status_of(str(pattern.name), wanted)
        for pattern in kept
        if pattern.name not in {"api-status", "api-send-row", "version-settle"}
    }


def status_of(name: str, wanted: str) -> int:
    if name == "worker-dismiss":
        return 403  # for administrators alone
    needs_api = name.startswith("api-") and name not in {"api-launch", "api-history"}
    return 409 if needs_api and wanted == "no API" else 200


def _filled(pattern: URLPattern, model: Subject) -> str:
    path = str(pattern.pattern).replace("<int:model_id>", str(model.id))
    return f"/{path.replace('<str:worker_id>', uuid.UUID(int=0).hex)}"


@pytest.mark.parametrize("wanted", STATES)
def test_the_pages_of_a_model_whose_api_is(wanted, in_state, open_page):
    model = in_state(wanted)
    page = open_page(model.url)
    if wanted not in {"no API", "locked"}:
        expect(state(page)).to_contain_text(wanted.capitalize())
    faults = barriers(page) + overflows(page)

    for address, status in api_addresses(model, wanted).items():
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == status, address
        faults += overflows(page) if wanted == "operating" else []

    assert faults == []


def test_the_dialogs(in_state, open_page):
    page = open_page(in_state("no API").url)
    faults = []
    page.get_by_role("button", name="Launch").click()
    expect(page.locator(DIALOG)).to_be_visible()
    faults += barriers(page) + overflows(page)

    page = open_page(in_state("operating").url)
    page.get_by_role("button", name="Configure IP whitelist").click()
    page.get_by_label("Addresses or networks to allow").fill("not a network\n" * 30)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#id_text_error")).to_be_visible()
    faults += barriers(page) + overflows(page)

    page = open_page(in_state("stopped").url)
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(DIALOG)).to_be_visible()
    faults += barriers(page) + overflows(page)

    assert faults == []


@pytest.mark.parametrize(
    ("address", "user"),
    [
        ("/accounts/login/", None),
        ("/models/", "operator"),
        ("/models/?workspace=all", "viewer"),
        ("/models/register/", "operator"),
        ("/models/meanings/", "operator"),
        ("/docs/inference-api/", "operator"),
    ],
)
def test_the_other_pages(address, user, open_page):
    page = open_page(address, user)

    assert barriers(page) + overflows(page) == []


def test_the_review_of_a_labelled_sample(open_page, tmp_path):
    """Numbers beside names: the confusion table, the names that the sample proposes, and their tick."""
    (tmp_path / "iris.onnx").write_bytes(makers.iris("int"))
    (tmp_path / "iris.csv").write_text(iris_csv())
    page = open_page("/models/register/")
    page.get_by_label("Name").fill("Iris under review")
    page.get_by_label("Model file").set_input_files(tmp_path / "iris.onnx")
    page.get_by_label("Sample CSV").set_input_files(tmp_path / "iris.csv")
    page.get_by_label("Target column").fill("kind")
    page.get_by_role("button", name="Look at the model").click()

    expect(page.get_by_role("heading", name="Classes")).to_be_visible()
    expect(page.get_by_text("agree with the sample")).to_be_visible()
    faults = barriers(page) + overflows(page)

    page.get_by_role("button", name="Save", exact=True).click()  # without the tick
    expect(page.locator("#confirm-names-error")).to_be_visible()
    assert faults + barriers(page) + overflows(page) == []


def test_overview_versions_and_history_hinder_nobody(in_state, open_page):
    model = in_state("operating")
    page = open_page(model.url)
    faults = []

    for tab in ("", "versions/", "api/history/", "api/whitelist/", "api/stop/"):
        page.goto(f"/models/{model.id}/{tab}")
        faults += barriers(page)

    assert faults == []


def test_the_user_portal_keeps_the_security_policy(in_state, open_page):
    model = in_state("operating")
    page = open_page("/admin/", "administrator")

    for path in ("auth/user/", "auth/user/add/", "apimgmt/predictionapi/", "apimgmt/apievent/", "apimgmt/workspace/"):
        answer = page.goto(f"/admin/{path}")
        assert answer is not None
        assert answer.status == 200
    page.goto(f"/admin/apimgmt/model/{model.id}/change/")
