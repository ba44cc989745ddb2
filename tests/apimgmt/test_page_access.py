"""Who may open and do what, on every URL of the console: one table, so that a new page is asked too."""

from __future__ import annotations

import re

import pytest
from django.urls import URLPattern, get_resolver, reverse

from apimgmt.models import ApiEvent, PredictionAPI, Status
from apimgmt.urls import urlpatterns
from contract.settings import PROJECT_DIR
from tests.factories import make_api, make_model, make_user, make_version, make_worker, make_workspace

pytestmark = pytest.mark.django_db

PUBLIC = {"home", "login", "logout"}
WITHOUT_MODEL = {
    "model-list",
    "model-meanings",
    "inference-docs",
    "model-register",
    "model-register-review",
    "model-register-script",
}
NAMES = sorted(pattern.name for pattern in urlpatterns if isinstance(pattern, URLPattern) and pattern.name)
OF_A_MODEL = [name for name in NAMES if name not in PUBLIC | WITHOUT_MODEL]
DEEDS = [name for name in OF_A_MODEL if name.startswith("api-") and name not in {"api-status", "api-history"}]
READ_ONLY = {"model-detail", "model-versions", "model-api", "api-status", "api-history"}
POST_ONLY = {"api-send-row", "version-settle"}


def url_of(name: str, model_id: int = 1) -> str:
    (pattern,) = (pattern for pattern in urlpatterns if isinstance(pattern, URLPattern) and pattern.name == name)
    names = re.findall(r"<(?:\w+:)?(\w+)>", str(pattern.pattern))
    return reverse(name, kwargs={key: model_id if key == "model_id" else "x" * 16 for key in names})


@pytest.fixture
def api():
    return make_api(make_model(versions=2))


def test_the_table_above_knows_every_url():
    assert len(NAMES) >= 25
    assert get_resolver().reverse_dict is not None
    assert set(DEEDS) >= {"api-launch", "api-whitelist", "api-key", "api-stop", "api-start", "api-delete", "api-lock"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC])
@pytest.mark.parametrize("method", ["get", "post"])
def test_somebody_not_signed_in_is_sent_to_the_login(client, name, method, api):
    reply = getattr(client, method)(url_of(name, api.model_id))

    assert reply.status_code == 302
    assert reply.url.startswith(reverse("login"))


@pytest.mark.parametrize("name", OF_A_MODEL)
@pytest.mark.parametrize("method", ["get", "post"])
def test_somebody_elses_workspace_is_not_found(client, name, method, api):
    client.force_login(make_user("administrator", make_workspace()))

    reply = getattr(client, method)(url_of(name, api.model_id))

    assert reply.status_code == (405 if name in (POST_ONLY if method == "get" else READ_ONLY) else 404)
    assert ApiEvent.objects.count() == 0


@pytest.mark.parametrize("name", DEEDS)
def test_a_viewer_changes_nothing_by_hand_made_requests(client, name, api):
    client.force_login(make_user("viewer", api.model.workspace))
    before = PredictionAPI.objects.values().get(pk=api.pk)

    fields = {"confirmed": "1", "type": "trial", "callers": "everybody", "networks": "192.0.2.1", "action": "show"}

    reply = client.post(url_of(name, api.model_id), fields)

    assert reply.status_code == 403
    assert PredictionAPI.objects.values().get(pk=api.pk) == before
    assert ApiEvent.objects.count() == 0
    assert not re.search(r"pak_\w{20}", reply.content.decode())


def status_of(name: str, role: str) -> int:
    """What a page is answered with to a member of the workspace, whatever the API's state."""
    if name in POST_ONLY:
        return 405
    if name == "login":
        return 302  # on to where one already is
    return 403 if (name, role) == ("model-register", "viewer") else 200


@pytest.mark.parametrize("status", [Status.OPERATING, Status.STOPPED, Status.FAILED, Status.BUILDING])
@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
def test_every_page_opens_in_every_status_under_the_strict_policy(client, role, status):
    api = make_api(make_model(), status=status)
    make_version(api.model)
    make_worker()
    client.force_login(make_user(role, api.model.workspace))

    for name in NAMES:
        if name in {"logout", "worker-dismiss", "model-register-review", "home"}:
            continue
        reply = client.get(url_of(name, api.model_id))
        assert reply.status_code == status_of(name, role), name
        policy = reply.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        if reply.status_code == 200 and name != "model-register-script":
            assert "no-store" in reply.headers["Cache-Control"], name
            assert not re.search(r"<style|\sstyle=|\son(click|load|change|submit)=", reply.content.decode()), name


def test_no_template_holds_an_inline_script_style_or_handler():
    faults = []
    for path in (PROJECT_DIR / "templates").rglob("*.html"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"<script(?![^>]*src=)|<style|\sstyle=\"|\son(click|load|change|submit)=|hx-on", line):
                faults.append(f"{path.name}:{number}: {line.strip()}")

    assert faults == []


def test_the_model_list_takes_a_fixed_number_of_queries(client, django_assert_max_num_queries):
    workspace = make_workspace()
    for _ in range(25):
        make_api(make_model(workspace))
    client.force_login(make_user("operator", workspace))

    with django_assert_max_num_queries(16):
        assert client.get(reverse("model-list")).status_code == 200


@pytest.mark.parametrize("name", ["api-stop", "api-launch", "api-whitelist"])
def test_an_unknown_method_is_refused(client, name, api):
    client.force_login(make_user("operator", api.model.workspace))

    assert client.delete(url_of(name, api.model_id)).status_code == 405
