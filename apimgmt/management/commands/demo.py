"""`manage.py demo`: two workspaces, three users and three real models to try the console with. Idempotent."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError

from apimgmt.actors import shell_actor
from apimgmt.models import Edition, Model, Workspace
from apimgmt.registry.registration import register_model
from apimgmt.roles import ADMINISTRATOR, ROLE_PERMISSIONS

DEMO_MODELS_DIR = settings.BASE_DIR / "demo" / "models"
# File of demo/models without its ending → the model's name in the console.
DEMO_MODELS = {
    "penguins": "Penguin species",
    "breast_cancer": "Breast cancer",
    "diabetes": "Diabetes progression",
}
WORKSPACES = {"Demo": (Edition.STANDARD, 3), "Demo trial": (Edition.TRIAL, 0)}


class Command(BaseCommand):
    help = "Make the demo workspaces, users and models. Only on the embedded database, or with DEMO=1."

    def handle(self, *args: Any, **options: Any) -> None:
        environment = settings.ENVIRONMENT
        if not (environment.uses_embedded_database or environment.demo):
            raise CommandError("demo changes only the embedded database. Set DEMO=1 to run it on this one.")
        users = self._users(*demo_password())
        for name, (edition, api_options) in WORKSPACES.items():
            workspace, is_new = Workspace.objects.get_or_create(
                name=name, defaults={"edition": edition, "api_options": api_options}
            )
            if is_new:
                workspace.members.add(*users)
            self._models(workspace)
        self.stdout.write(f"Demo users: {', '.join(ROLE_PERMISSIONS)}. Password: see {password_file()}")

    @staticmethod
    def _users(password: str, is_new_password: bool) -> list[User]:
        """One user a role, named like it. What was changed in the User Portal, role or password, stays."""
        users = []
        for role in ROLE_PERMISSIONS:
            user, is_new = User.objects.get_or_create(username=role, defaults={"is_staff": role == ADMINISTRATOR})
            if (is_new or is_new_password) and not user.check_password(password):
                user.set_password(password)
                user.save(update_fields=["password"])
            if is_new:
                user.groups.set([Group.objects.get(name=role)])
            users.append(user)
        return users

    @staticmethod
    def _models(workspace: Workspace) -> None:
        known = set(Model.objects.filter(workspace=workspace).values_list("name", flat=True))
        for stem, name in DEMO_MODELS.items():
            if name not in known:
                register_model(workspace, name, DEMO_MODELS_DIR / f"{stem}.onnx", actor=shell_actor(None))


def password_file() -> Path:
    path: Path = settings.ENVIRONMENT.var_dir / "demo-password"
    return path


def demo_password() -> tuple[str, bool]:
    """DEMO_PASSWORD, or the random one of the first run, and whether it is another one than before.

    Kept in `VAR_DIR/demo-password`, mode 0600.
    """
    path = password_file()
    kept = path.read_text().strip() if path.exists() else None
    password = settings.ENVIRONMENT.demo_password or kept or secrets.token_urlsafe(9)
    if password == kept:
        return password, False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password + "\n")
    return password, True
