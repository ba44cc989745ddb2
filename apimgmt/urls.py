"""The console's addresses. Each answers GET with a complete page; POST carries out the action."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from apimgmt.views import (
    accounts,
    actions,
    docs,
    history,
    launch,
    meanings,
    models,
    registration,
    review,
    send_row,
    tab,
    whitelist,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="model-list"), name="home"),
    path("accounts/login/", accounts.SignInView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("models/", models.model_list, name="model-list"),
    path("models/register/", registration.register, name="model-register"),
    path("models/register/export_sklearn.py", registration.export_script, name="model-register-script"),
    path("models/register/<str:token>/", review.review, name="model-register-review"),
    path("models/meanings/", meanings.meanings, name="model-meanings"),
    path("models/<int:model_id>/", models.model_detail, name="model-detail"),
    path("models/<int:model_id>/versions/", models.model_versions, name="model-versions"),
    path("models/<int:model_id>/settle/", meanings.settle, name="version-settle"),
    path("models/<int:model_id>/api/", tab.model_api, name="model-api"),
    path("models/<int:model_id>/api/status/", tab.api_status, name="api-status"),
    path("models/<int:model_id>/api/launch/", launch.launch, name="api-launch"),
    path("models/<int:model_id>/api/send-row/", send_row.send_row, name="api-send-row"),
    path("models/<int:model_id>/api/whitelist/", whitelist.whitelist, name="api-whitelist"),
    path("models/<int:model_id>/api/description/", actions.description, name="api-description"),
    path("models/<int:model_id>/api/key/", actions.key, name="api-key"),
    path("models/<int:model_id>/api/key/roll/", actions.roll, name="api-roll"),
    path("models/<int:model_id>/api/stop/", actions.stop, name="api-stop"),
    path("models/<int:model_id>/api/start/", actions.start, name="api-start"),
    path("models/<int:model_id>/api/cancel/", actions.cancel, name="api-cancel"),
    path("models/<int:model_id>/api/update/", actions.update, name="api-update"),
    path("models/<int:model_id>/api/upgrade/", actions.upgrade, name="api-upgrade"),
    path("models/<int:model_id>/api/lock/", actions.lock, name="api-lock"),
    path("models/<int:model_id>/api/delete/", actions.delete, name="api-delete"),
    path("models/<int:model_id>/api/history/", history.api_history, name="api-history"),
    path("models/<int:model_id>/api/workers/<str:worker_id>/dismiss/", actions.dismiss, name="worker-dismiss"),
    path("docs/inference-api/", docs.inference_docs, name="inference-docs"),
]
