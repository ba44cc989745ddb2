"""The User Portal: an administrator manages his own workspaces' people and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from django.utils import timezone

from apimgmt.actors import role_of
from apimgmt.models import ApiEvent, GatewayWorker, Workspace
from tests.factories import make_api, make_model, make_user, make_worker, make_workspace

pytestmark = pytest.mark.django_db

USERS = "admin:auth_user_changelist"


@pytest.fixture
def workspace():
    return make_workspace()


@pytest.fixture
def administrator(workspace):
    return make_user("administrator", workspace, is_staff=True)


@pytest.fixture
def portal(client, administrator):
    client.force_login(administrator)
    return client


def user_form(user: User | None = None, **changes: object) -> dict[str, object]:
    fields = {"username": user.username if user else "newcomer", "role": "operator", "is_active": "on"}
    if user is None:
        fields |= {"password1": "long-pass-word-7", "password2": "long-pass-word-7"}
    return fields | changes


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_others_can_not_enter(client, workspace, role):
    client.force_login(make_user(role, workspace))

    assert client.get("/admin/").status_code == 302


def test_an_administrator_sees_only_the_people_of_his_workspaces(portal, workspace):
    mine, theirs = make_user("viewer", workspace), make_user("viewer", make_workspace())

    page = portal.get(reverse(USERS)).content.decode()

    assert mine.username in page
    assert theirs.username not in page
    assert portal.get(reverse("admin:auth_user_change", args=[theirs.pk])).status_code == 302


def test_an_administrator_adds_a_user_with_one_role_to_his_own_workspace(portal, workspace):
    reply = portal.post(reverse("admin:auth_user_add"), user_form(member_of=[workspace.pk]))

    user = User.objects.get(username="newcomer")
    assert reply.status_code == 302
    assert role_of(user) == "operator"
    assert list(user.workspaces.all()) == [workspace]
    assert not user.is_staff


def test_changing_the_role_to_administrator_opens_the_portal_and_back_closes_it(portal, workspace):
    user = make_user("viewer", workspace)
    url = reverse("admin:auth_user_change", args=[user.pk])

    portal.post(url, user_form(user, role="administrator", member_of=[workspace.pk]))
    user.refresh_from_db()
    assert user.is_staff

    portal.post(url, user_form(user, role="viewer", member_of=[workspace.pk]))
    user = User.objects.get(pk=user.pk)
    assert not user.is_staff
    assert [group.name for group in user.groups.all()] == ["viewer"]


def test_an_administrator_can_make_nobody_installer(portal, workspace, administrator):
    user = make_user("viewer", workspace)
    permission = Permission.objects.first()
    forged = {"is_superuser": "on", "user_permissions": [permission.pk], "groups": [g.pk for g in Group.objects.all()]}

    for target in (user, administrator):
        url = reverse("admin:auth_user_change", args=[target.pk])
        portal.post(url, user_form(target, role="administrator", member_of=[workspace.pk], **forged))
        target.refresh_from_db()
        assert not target.is_superuser
        assert not target.user_permissions.exists()
        assert target.groups.count() == 1


def test_a_foreign_workspace_can_not_be_given(portal, workspace):
    other = make_workspace()

    portal.post(reverse("admin:auth_user_add"), user_form(member_of=[other.pk]))

    assert not User.objects.filter(username="newcomer").exists()


def test_somebody_who_also_works_for_others_is_not_changed(portal, workspace):
    user = make_user("viewer", workspace, make_workspace())

    portal.post(reverse("admin:auth_user_change", args=[user.pk]), user_form(user, member_of=[workspace.pk]))

    assert role_of(User.objects.get(pk=user.pk)) == "viewer"


def test_the_installers_account_is_out_of_reach(portal, workspace):
    installer = User.objects.create_superuser("root", password="long-pass-word-7")
    installer.workspaces.add(workspace)

    reply = portal.post(f"/admin/auth/user/{installer.pk}/password/", {"password1": "x", "password2": "x"})

    assert reply.status_code == 404
    installer.refresh_from_db()
    assert installer.check_password("long-pass-word-7")


def test_nobody_switches_off_or_demotes_himself(portal, workspace, administrator):
    url = reverse("admin:auth_user_change", args=[administrator.pk])

    portal.post(url, user_form(administrator, role="administrator", member_of=[workspace.pk], is_active=""))
    portal.post(url, user_form(administrator, role="viewer", member_of=[workspace.pk]))

    administrator.refresh_from_db()
    assert administrator.is_active
    assert administrator.is_staff


def test_edition_and_options_are_the_installers_alone(portal, workspace, client):
    url = reverse("admin:apimgmt_workspace_change", args=[workspace.pk])
    wanted = {"name": workspace.name, "edition": "standard", "api_options": "99", "members": []}

    assert portal.post(url, wanted).status_code == 403
    workspace.refresh_from_db()
    assert workspace.api_options == 3

    client.force_login(User.objects.create_superuser("root", password="long-pass-word-7"))
    assert client.post(url, wanted).status_code == 302
    assert Workspace.objects.get(pk=workspace.pk).api_options == 99


def test_the_unlock_action_unlocks_and_is_recorded(portal, workspace, administrator):
    api = make_api(make_model(workspace), is_locked=True)
    foreign = make_api(is_locked=True)

    portal.post(
        reverse("admin:apimgmt_predictionapi_changelist"),
        {"action": "unlock", "_selected_action": [api.pk, foreign.pk]},
    )

    api.refresh_from_db()
    foreign.refresh_from_db()
    assert not api.is_locked
    assert foreign.is_locked
    assert ApiEvent.objects.get(api=api, verb="unlock").actor == administrator.username


def test_only_a_worker_out_of_reach_is_dismissed(portal):
    now = timezone.now()
    worker, healthy = make_worker(heartbeat_at=now - timedelta(seconds=30)), make_worker()

    portal.post(
        reverse("admin:apimgmt_gatewayworker_changelist"),
        {"action": "dismiss", "_selected_action": [worker.pk, healthy.pk]},
    )

    worker.refresh_from_db()
    healthy.refresh_from_db()
    assert healthy.gone_at is None
    assert worker.gone_reason == GatewayWorker.GoneReason.DISMISSED


@pytest.mark.parametrize("model", ["apievent", "predictionapi", "model", "gatewayworker"])
def test_nobody_edits_what_the_console_writes_not_even_the_installer(client, model, workspace):
    client.force_login(User.objects.create_superuser("root", password="long-pass-word-7"))
    make_api(make_model(workspace))

    assert client.get(reverse(f"admin:apimgmt_{model}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:apimgmt_{model}_add")).status_code == 403


@pytest.mark.parametrize("model", ["apievent", "predictionapi", "model", "workspace", "gatewayworker"])
def test_every_list_opens_for_an_administrator(portal, model, workspace):
    make_api(make_model(workspace))

    assert portal.get(reverse(f"admin:apimgmt_{model}_changelist")).status_code == 200
