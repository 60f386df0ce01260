"""Where prices are changed."""

from __future__ import annotations

from django.contrib import admin

from shop.models import Product

admin.site.register(Product, list_display=["name", "price"])
