"""The administrators' site: the User Portal."""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class UserPortal(AdminSite):
    site_header = _("User Portal")
    site_title = _("User Portal")
    index_title = _("Administration")
