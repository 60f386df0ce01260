"""Sessions in Django, with its own users and logins: log in once, served by any of three processes.  edgewise run"""

from __future__ import annotations

import os
from pathlib import Path

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from edgewise.sessions import SessionSettings

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example, which keeps nothing secret"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path("users.sqlite").resolve()}},
    MIDDLEWARE=[
        "edgewise.contrib.django.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    SESSION_ENGINE="edgewise.contrib.django",
    SESSION_COOKIE_NAME="__Host-sessionid",
    SESSION_COOKIE_SECURE=True,
    EDGEWISE_SESSIONS=SessionSettings(namespace="django"),
)
django.setup()

from django.contrib import auth  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

from edgewise.contrib.django import revoke, sessions_of  # noqa: E402


def visit(request: HttpRequest) -> JsonResponse:
    """Say who this is, and count."""
    request.session["visits"] = visits = request.session.get("visits", 0) + 1
    return JsonResponse({"process": os.getpid(), "user": request.user.get_username(), "visits": visits})


def login(request: HttpRequest, name: str) -> HttpResponse:
    """Log in; a real app would ask for a password first."""
    user, _ = auth.get_user_model().objects.get_or_create(username=name)
    auth.login(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse(f"hello {name}")


def logout(request: HttpRequest) -> HttpResponse:
    """Log out."""
    auth.logout(request)
    return HttpResponse("goodbye")


def mine(request: HttpRequest) -> JsonResponse:
    """List the user's sessions; 401 for nobody."""
    if not request.user.is_authenticated:
        return JsonResponse({}, status=401)
    return JsonResponse([info.label for info in sessions_of(request.user.pk)], safe=False)


def logout_everywhere(request: HttpRequest) -> HttpResponse:
    """End the user's other sessions."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    revoke(request.user.pk, keep=request.session)
    return HttpResponse("only here now")


urlpatterns = [
    path("", visit),
    path("login/<name>", login),
    path("logout", logout),
    path("mine", mine),
    path("logout-everywhere", logout_everywhere),
]
app = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
