"""Signing in. Signing out is Django's own view; too many attempts are django-axes' matter."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from apimgmt.roles import ROLE_PERMISSIONS
from apimgmt.views.forms import SignInForm


def _has_demo_users() -> bool:
    environment = settings.ENVIRONMENT
    if not (environment.uses_embedded_database or environment.demo):
        return False
    return User.objects.filter(username__in=ROLE_PERMISSIONS).count() == len(ROLE_PERMISSIONS)


@method_decorator(never_cache, name="dispatch")
class SignInView(LoginView):
    """The login page; it mentions the demo users only where they exist."""

    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return {**context, "has_demo_users": _has_demo_users()}
