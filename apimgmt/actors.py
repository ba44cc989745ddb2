"""Who does something: a signed-in person at an address, or somebody at the installation's shell."""

from __future__ import annotations

import getpass
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from apimgmt.errors import NotAllowed, Refused
from apimgmt.roles import HOLDERS, INSTALLER
from contract.client_address import BadForwardedFor, ClientAddresses


@dataclass(frozen=True)
class Actor:
    """Who does one action, as events record it. Without a user: the installer at the shell, who may do everything."""

    name: str
    role: str
    address: str
    user: User | None

    def may(self, permission: str) -> bool:
        return self.user is None or self.user.has_perm(permission)

    def require(self, permission: str) -> None:
        """Raises NotAllowed, saying who has the right."""
        if not self.may(permission):
            raise NotAllowed(str(HOLDERS[permission]))


SYSTEM = Actor(name="console", role="system", address="", user=None)


def role_of(user: User | AnonymousUser) -> str:
    """The user's one role; the installer is Django's superuser; "" for somebody without a role."""
    if user.is_superuser:
        return INSTALLER
    group = user.groups.order_by("id").first()
    return group.name if group else ""


def address_of(request: HttpRequest) -> str:
    """The browser's address by the gateway's own rule for proxies, or "" if it can't be determined."""
    addresses = ClientAddresses(settings.ENVIRONMENT.trusted_proxies)
    peer, is_proxy = addresses.of_peer(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    if not is_proxy or forwarded is None:
        return peer
    try:
        return addresses.of_forwarded(peer, [forwarded.encode("latin-1", "replace")])
    except BadForwardedFor:
        return ""


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person behind a request. The view has made sure that there is one."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("an actor needs a signed-in user")
    return Actor(name=user.get_username(), role=role_of(user), address=address_of(request), user=user)


def shell_actor(username: str | None) -> Actor:
    """The actor of a command: `--as USER` has that user's rights, otherwise it is the installer."""
    if username is None:
        return Actor(name=f"shell:{getpass.getuser()}", role=INSTALLER, address="", user=None)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Refused(f"There is no active user named {username}.")
    return Actor(name=user.username, role=role_of(user), address="", user=user)
