"""The three roles as data: which role may do what. Code asks for the permission, never for the role's name.

Roles are Django groups; `install_roles` makes them (a migration and the `demo` command call it) and is idempotent.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

OPERATE = "apimgmt.operate_predictionapi"
VIEW_KEY = "apimgmt.view_predictionapi_key"
UNLOCK = "apimgmt.unlock_predictionapi"
REGISTER = "apimgmt.add_modelversion"
DISMISS_WORKER = "apimgmt.dismiss_gatewayworker"

VIEWER, OPERATOR, ADMINISTRATOR, INSTALLER = "viewer", "operator", "administrator", "installer"

ROLE_LABELS = {
    VIEWER: pgettext_lazy("role", "Viewer"),
    OPERATOR: pgettext_lazy("role", "Operator"),
    ADMINISTRATOR: pgettext_lazy("role", "Administrator"),
}

_READ = (
    "apimgmt.view_workspace",
    "apimgmt.view_model",
    "apimgmt.view_modelversion",
    "apimgmt.view_predictionapi",
    "apimgmt.view_whitelistentry",
    "apimgmt.view_apievent",
)
_OPERATE = (OPERATE, VIEW_KEY, REGISTER)
_ADMINISTER = (
    UNLOCK,
    DISMISS_WORKER,
    "apimgmt.view_gatewayworker",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
)

ROLE_PERMISSIONS: dict[str, tuple[str, ...]] = {
    VIEWER: _READ,
    OPERATOR: _READ + _OPERATE,
    ADMINISTRATOR: _READ + _OPERATE + _ADMINISTER,
}

# Who is named when a right is missing.
HOLDERS = {
    OPERATE: _("Only an operator or an administrator can do this."),
    VIEW_KEY: _("Only an operator or an administrator can see the key."),
    UNLOCK: _("Only an administrator can unlock (User Portal)."),
    REGISTER: _("Only an operator or an administrator can register models."),
    DISMISS_WORKER: _("Only an administrator can dismiss a gateway worker."),
}


def install_roles(group_model: Any, permission_model: Any) -> None:
    """Make the three groups hold exactly the permissions of `ROLE_PERMISSIONS`.

    Takes the model classes, so that a migration can pass its historical ones. The permissions must exist.
    """
    for role, names in ROLE_PERMISSIONS.items():
        group, _created = group_model.objects.get_or_create(name=role)
        permissions = []
        for name in names:
            app_label, codename = name.split(".")
            permissions.append(permission_model.objects.get(content_type__app_label=app_label, codename=codename))
        group.permissions.set(permissions)
