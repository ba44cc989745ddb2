from django.contrib import admin
from django.urls import include, path

handler403 = "console.views.forbidden"
handler404 = "console.views.not_found"
handler500 = "console.views.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("apimgmt.urls")),
]
