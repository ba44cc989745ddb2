"""The User Portal: what administrators manage for their own workspaces, and the installer for all.

Administrators see and change only the people of their own workspaces, by a form with a name, a password, active and one
Role. Raw permissions, groups and the superuser flag are not on it: whoever could set them could become an installer.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm, UserCreationForm
from django.contrib.auth.models import Group, User
from django.db.models import Model as DjangoModel
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apimgmt.actors import actor_of, role_of
from apimgmt.errors import Refused
from apimgmt.lifecycle import services
from apimgmt.models import ApiEvent, GatewayWorker, Model, ModelVersion, PredictionAPI, WhitelistEntry, Workspace
from apimgmt.roles import ADMINISTRATOR, DISMISS_WORKER, INSTALLER, ROLE_LABELS, UNLOCK
from apimgmt.visibility import apis_visible_to, workspaces_visible_to

admin.site.unregister(Group)
admin.site.unregister(User)


def person(request: HttpRequest) -> User:
    """The signed-in user; the admin site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("the admin site was entered without a user")
    return request.user


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that the console writes through its rules, and that nobody edits as rows, not even the installer."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _role_choices() -> list[tuple[str, Any]]:
    return list(ROLE_LABELS.items())


class RoleFormMixin(forms.ModelForm):
    """Adds the Role and the workspaces, both within what the person at the form may give."""

    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=_role_choices)
    member_of = forms.ModelMultipleChoiceField(label=gettext_lazy("Workspaces"), queryset=Workspace.objects.none())

    giver: User  # set on a subclass for each request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = workspaces_visible_to(self.giver)
        field = self.fields["member_of"]
        if isinstance(field, forms.ModelMultipleChoiceField):
            field.queryset = own
        if self.instance.pk:
            self.fields["role"].initial = role_of(self.instance)
            field.initial = self.instance.workspaces.all()
        else:
            field.initial = own if own.count() == 1 else []

    def clean_is_active(self) -> bool:
        is_active = bool(self.cleaned_data["is_active"])
        if self.instance.pk == self.giver.pk and not is_active:
            raise forms.ValidationError(_("You can't switch off your own account."))
        return is_active

    def clean_role(self) -> str:
        role: str = self.cleaned_data["role"]
        if self.instance.pk == self.giver.pk and not self.giver.is_superuser and role != ADMINISTRATOR:
            raise forms.ValidationError(_("You can't take the administrator role from yourself."))
        return role


class PortalUserCreationForm(RoleFormMixin, UserCreationForm):
    pass


class PortalUserChangeForm(RoleFormMixin, UserChangeForm):
    pass


@admin.register(User)
class PortalUserAdmin(UserAdmin):
    form = PortalUserChangeForm
    add_form = PortalUserCreationForm
    fieldsets = (
        (None, {"fields": ("username", "password", "is_active", "role", "member_of")}),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2", "is_active", "role", "member_of")}),)
    readonly_fields = ("last_login", "date_joined")
    list_display = ("username", "role", "is_active", "last_login")
    list_filter = ("is_active",)
    search_fields = ("username",)
    ordering = ("username",)
    filter_horizontal = ()

    @admin.display(description=gettext_lazy("Role"))
    def role(self, user: User) -> str:
        name = role_of(user)
        return str(ROLE_LABELS.get(name, _("Installer") if name == INSTALLER else "—"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users = super().get_queryset(request).prefetch_related("groups", Prefetch("workspaces"))
        if person(request).is_superuser:
            return users
        return users.filter(workspaces__in=workspaces_visible_to(person(request)), is_superuser=False).distinct()

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Somebody who also works for others is not this administrator's to change: the Role holds everywhere."""
        if not super().has_change_permission(request, obj):
            return False
        if obj is None or person(request).is_superuser:
            return True
        own = set(workspaces_visible_to(person(request)).values_list("pk", flat=True))
        return not obj.is_superuser and set(obj.workspaces.values_list("pk", flat=True)) <= own

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # events name people; an account is switched off, not removed

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm]:
        """The form, told who stands at it: that bounds the roles and workspaces it gives."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.giver = person(request)
        return form

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        user, role = form.instance, form.cleaned_data["role"]
        user.groups.set([Group.objects.get(name=role)])
        user.workspaces.set(form.cleaned_data["member_of"])
        if not user.is_superuser:
            user.is_staff = role == ADMINISTRATOR
            user.save(update_fields=["is_staff"])


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    """Edition and options are the installer's alone: nobody buys himself options."""

    list_display = ("name", "edition", "api_options")
    filter_horizontal = ("members",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        return workspaces_visible_to(person(request))

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False  # its models and histories stay readable


class ReadOnlyInline(admin.TabularInline):
    """Rows of another table beside their owner, to be read only."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: DjangoModel | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: DjangoModel | None = None) -> bool:
        return False


class ModelVersionInline(ReadOnlyInline):
    model = ModelVersion
    fields = ("number", "task", "sha256", "size_bytes", "created_at", "created_by")
    readonly_fields = fields


@admin.register(Model)
class ModelPortalAdmin(ReadOnlyAdmin):
    list_display = ("name", "workspace", "created_at", "created_by")
    list_select_related = ("workspace",)
    inlines = (ModelVersionInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).filter(workspace__in=workspaces_visible_to(person(request)))


class WhitelistInline(ReadOnlyInline):
    model = WhitelistEntry
    fields = ("network", "note", "created_at", "created_by")
    readonly_fields = fields


@admin.register(PredictionAPI)
class PredictionAPIAdmin(ReadOnlyAdmin):
    list_display = ("id", "model", "workspace", "type", "status", "is_locked", "created_at")
    list_filter = ("status", "type", "is_locked")
    list_select_related = ("model__workspace",)
    search_fields = ("id", "model__name")
    fields = ("id", "model", "type", "status", "target", "is_locked", "version", "created_at", "created_by")
    inlines = (WhitelistInline,)
    actions = ("unlock",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PredictionAPI]:
        return apis_visible_to(person(request))

    @admin.display(description=gettext_lazy("Workspace"))
    def workspace(self, api: PredictionAPI) -> str:
        return api.model.workspace.name

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm(UNLOCK)

    @admin.action(description=gettext_lazy("Unlock selected APIs"), permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[PredictionAPI]) -> None:
        unlocked = 0
        for api in queryset:
            try:
                services.unlock_api(api.pk, actor=actor_of(request))
                unlocked += 1
            except Refused as error:
                self.message_user(request, f"{api}: {error}", messages.ERROR)
        if unlocked:
            text = ngettext("%(count)d API unlocked.", "%(count)d APIs unlocked.", unlocked) % {"count": unlocked}
            self.message_user(request, text, messages.SUCCESS)


@admin.register(ApiEvent)
class ApiEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "api", "verb", "actor", "role", "address", "before", "after", "revision")
    list_filter = ("verb", "role")
    list_select_related = ("api__model",)
    search_fields = ("api__id", "actor")
    date_hierarchy = "at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiEvent]:
        return super().get_queryset(request).filter(api__in=apis_visible_to(person(request)).values("pk"))


@admin.register(GatewayWorker)
class GatewayWorkerAdmin(ReadOnlyAdmin):
    """Workers of the installation; one out of reach may be dismissed, with what that means said."""

    list_display = (
        *("__str__", "state", "applied_revision", "heartbeat_at", "gone_at", "gone_reason"),
        *("obstacle", "obstacle_since", "obstacle_reason"),
    )
    list_filter = ("gone_reason", "obstacle")
    actions = ("dismiss",)

    def has_dismiss_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm(DISMISS_WORKER)

    @admin.action(
        description=gettext_lazy("Dismiss: no longer count it; it may still answer by old rules"),
        permissions=["dismiss"],
    )
    def dismiss(self, request: HttpRequest, queryset: QuerySet[GatewayWorker]) -> None:
        for worker in queryset:
            try:
                services.dismiss_worker(worker.pk, actor=actor_of(request))
                self.message_user(request, _("%s no longer counts.") % worker, messages.WARNING)
            except Refused as error:
                self.message_user(request, f"{worker}: {error}", messages.ERROR)
