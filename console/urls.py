from django.contrib import admin
from django.urls import include, path

from console.views import favicon

handler403 = "console.views.forbidden"
handler404 = "console.views.not_found"
handler500 = "console.views.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("favicon.ico", favicon),
    path("", include("apimgmt.urls")),
]
