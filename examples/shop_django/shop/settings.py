"""Settings. `SHOP_DATABASE` is the URL of a PostgreSQL database, or the name of a SQLite file."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit


def database(where: str) -> dict[str, Any]:
    """Return Django's settings of a database."""
    if not where.startswith("postgresql://"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": where}
    url = urlsplit(where)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.strip("/"),
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": url.password or "",
        "CONN_MAX_AGE": 60,
    }


SECRET_KEY = os.environ.get("SECRET_KEY", "only for this example, which keeps nothing secret")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": database(os.environ.get("SHOP_DATABASE", "shop.sqlite"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "edgewise.contrib.django_orm.OrmConfig",  # what is read is tagged, what is written is purged
    "shop",
]
MIDDLEWARE = [
    "edgewise.contrib.django_orm.SurrogateKeys",  # answers say what they are made of
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
USE_TZ = True
