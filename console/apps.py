from django.contrib.admin.apps import AdminConfig


class UserPortalConfig(AdminConfig):
    """Django's admin site under the name the manual gives it: the User Portal."""

    default_site = "console.user_portal.UserPortal"
