"""Where everything is."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import path

from shop import views

urlpatterns = [
    path("", views.listing),
    path("products/<int:key>/", views.page),
    path("api/products/", views.api_listing),
    path("api/products/<int:key>/", views.api_product),
    path("about/", views.about),
    path("admin/", admin.site.urls),
    path("static/<path:path>", serve, {"insecure": True}),
]
