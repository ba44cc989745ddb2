from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApimgmtConfig(AppConfig):
    name = "apimgmt"
    verbose_name = _("Prediction APIs")
    default_auto_field = "django.db.models.BigAutoField"
