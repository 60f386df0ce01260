"""A real OpenID Connect provider: django-oauth-toolkit, with a login form. `python oidc_provider.py PORT DIRECTORY`.

DIRECTORY has `key.pem` (RSA) and gets the database. Users are alice, bob and carol, with the password "secret". For
tests alone, clients are registered at /register, and at /change settings are changed and refresh tokens revoked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

PORT, DIRECTORY = int(sys.argv[1]), Path(sys.argv[2])
PASSWORD = "secret"
LOGIN = """<!doctype html><title>Provider</title><form method="post">{% csrf_token %}
<input name="username" id="username"><input name="password" id="password" type="password">
<button id="go">Log in</button></form>"""

settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3"}},
    MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions", "oauth2_provider")),  # tables as they are now
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN}),
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": ["django.template.context_processors.request"],
            },
        }
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    USE_TZ=True,
    LOGIN_URL="/login",
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": (DIRECTORY / "key.pem").read_text(),
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
        "PKCE_REQUIRED": True,
        "SCOPES": {"openid": "Log in", "email": "Address", "read": "Read"},
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "ALWAYS_RELOAD_OAUTHLIB_CORE": True,
    },
)


def validator() -> type[Any]:
    """Return what tells claims of a user; its base can be imported only now."""
    from oauth2_provider.oauth2_validators import OAuth2Validator

    class Claims(OAuth2Validator):
        oidc_claim_scope = None

        def get_additional_claims(self, request: Any) -> dict[str, Any]:
            name = request.user.username
            groups = ["staff"] if name == "alice" else []
            return {"preferred_username": name, "email": f"{name}@example.com", "groups": groups}

    return Claims


def register(request: HttpRequest) -> JsonResponse:
    """Register a client."""
    from oauth2_provider.models import get_application_model

    told = json.loads(request.body)
    secret = told.pop("client_secret", None)
    get_application_model().objects.create(
        authorization_grant_type="authorization-code",
        client_type="public" if secret is None else "confidential",
        client_secret=secret or "",
        skip_authorization=True,
        algorithm="RS256",
        **told,
    )
    return JsonResponse({})


def change(request: HttpRequest) -> JsonResponse:
    """Change settings, revoke every refresh token of a user, and say how many access tokens there are."""
    from oauth2_provider.models import get_access_token_model, get_refresh_token_model
    from oauth2_provider.settings import oauth2_settings

    told = json.loads(request.body)
    for key, value in told.get("settings", {}).items():
        setattr(oauth2_settings, key, value)
    for token in get_refresh_token_model().objects.filter(user__username=told.get("revoke")):
        token.revoke()
    return JsonResponse({"access_tokens": get_access_token_model().objects.count()})


def page(request: HttpRequest) -> JsonResponse:
    """Answer where nothing else does: after a login that no client asked for."""
    return JsonResponse({"user": request.user.get_username()})


def urls() -> list[Any]:
    """Return the paths; views of Django's accounts can be imported only now."""
    from django.contrib.auth.views import LoginView
    from django.views.decorators.csrf import csrf_exempt

    return [
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("login", LoginView.as_view()),
        path("register", csrf_exempt(register)),
        path("change", csrf_exempt(change)),
        path("accounts/profile/", page),
    ]


urlpatterns: list[Any] = []


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    django.setup()
    from oauth2_provider.settings import oauth2_settings

    oauth2_settings.OAUTH2_VALIDATOR_CLASS = validator()
    urlpatterns.extend(urls())
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth import get_user_model

    for name in ("alice", "bob", "carol"):
        get_user_model().objects.create_user(name, password=PASSWORD)
    make_server("127.0.0.1", PORT, get_wsgi_application(), _Server, _Quiet).serve_forever()


if __name__ == "__main__":
    main()
