"""Sessions in Django.

`SESSION_ENGINE = "edgewise.contrib.django"` and `EDGEWISE_SESSIONS = SessionSettings(...)`; in MIDDLEWARE,
"edgewise.contrib.django.SessionMiddleware" in the place of Django's own, which it extends. Django's settings go on
naming the cookie: `SESSION_COOKIE_NAME = "__Host-sessionid"`, `SESSION_COOKIE_SECURE = True`. `request.session` is
Django's, `django.contrib.auth` logs in and out.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from edgewise.contracts.state import StateUnavailable
from edgewise.contrib.engines import ThreadState, run_now
from edgewise.sessions import Session, SessionGone, SessionInfo, SessionSettings
from edgewise.sessions.cookies import read_cookie
from edgewise.sessions.stateful import StatefulSessions

log = logging.getLogger("edgewise.sessions")


class SessionStore(SessionBase):
    """Django's sessions on a state engine: concurrent requests change different keys without losing any."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._kept: Session | None = None
        self._rotates = False

    @property
    def was_replaced(self) -> bool:
        """Did the request come with an id that was replaced a moment ago?"""
        return self._kept is not None and self._kept.muted

    def kept_session(self) -> Session | None:
        """Return the session as it was read; None where there is none yet."""
        self.items()
        return self._kept

    def load(self) -> dict[str, Any]:
        """Return the data; an id that is not known is forgotten, never adopted."""
        self._kept = run_now(_store().open(self.session_key))
        if self._kept.new:
            self._session_key = None
        return dict(self._kept)

    def exists(self, session_key: str) -> bool:
        """Is there such a session?"""
        return not run_now(_store().open(session_key)).new

    def create(self) -> None:
        """Keep an empty session under a new id."""
        self._session_cache: dict[str, Any] = {}
        self._kept = None
        self._session_key = None
        self.save(must_create=True)
        self.modified = True

    def cycle_key(self) -> None:
        """Give the session a new id, with its data, when it is saved; the old id dies then."""
        self.items()
        self._rotates = True
        self.modified = True

    async def acycle_key(self) -> None:
        """See `cycle_key`."""
        await self.aitems()
        self._rotates = True
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Write what changed. Raises UpdateError where the session was ended or got a new id meanwhile."""
        data: dict[str, Any] = dict(self.items())
        session = Session() if must_create or self._kept is None else self._kept
        session.forced = session.new
        session.idle = self.get_expiry_age()
        for key in [key for key in session if key not in data]:
            del session[key]
        session.update(data)
        self._take_user(session, data.get(USER_KEY) or "")
        try:
            token = run_now(_store().commit(session))
        except SessionGone as gone:
            raise UpdateError(str(gone)) from gone
        if session.new:
            raise UpdateError("the session got a new id while this request was under way")
        self._kept, self._rotates = session, False
        if token:
            self._session_key = token

    def _take_user(self, session: Session, user: str) -> None:
        """Tell the session who is logged in, as django.contrib.auth keeps it in the data."""
        if user and user != session.user:
            session.user, session.logs_in = user, True
        elif (self._rotates or user != session.user) and not session.new:
            session.user = user
            session.rotate()

    def delete(self, session_key: str | None = None) -> None:
        """End a session, this one by default."""
        key = session_key or self.session_key
        if key is None:
            return
        session = run_now(_store().open(key))
        session.logout()
        run_now(_store().commit(session))
        if key == self.session_key:
            self._kept = None

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: the engine removes what expired."""


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, with a stricter reader: Django trims white space beyond ASCII off names of cookies, and takes the last
    of several cookies of one name, so that a neighbouring host could set one that passes for `__Host-`.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Give the request its session, which is read when first used."""
        fields = [request.META.get("HTTP_COOKIE", "")]
        request.session = SessionStore(read_cookie(django_settings.SESSION_COOKIE_NAME, fields))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session. A request whose id was replaced a moment ago writes nothing, unless it logs in."""
        session = request.session
        if isinstance(session, SessionStore) and session.was_replaced and USER_KEY not in session:
            patch_vary_headers(response, ("Cookie",))
            return response
        try:
            return super().process_response(request, response)
        except StateUnavailable as error:
            return _refused(error)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 503 where the state engine does not answer."""
        return _refused(exception) if isinstance(exception, StateUnavailable) else None


def _refused(error: StateUnavailable) -> HttpResponse:
    log.error("sessions are out of reach: %s", error)
    return HttpResponse("sessions are out of reach\n", "text/plain", 503, headers={"Retry-After": "1"})


@functools.cache
def _store() -> StatefulSessions:
    settings: SessionSettings = django_settings.EDGEWISE_SESSIONS
    if settings.kind != "stateful" or settings.state is None:
        raise ImproperlyConfigured("EDGEWISE_SESSIONS: Django's sessions are stateful")
    return StatefulSessions(settings, ThreadState(settings.state))


def sessions_of(user: object) -> list[SessionInfo]:
    """Return the sessions of a user, by the primary key, latest login first."""
    return run_now(_store().sessions_of(str(user)))


def revoke(user: object, handle: str | None = None, keep: SessionBase | None = None) -> None:
    """End a user's sessions everywhere: the one named, or all, or all but `keep` (`request.session`)."""
    kept = keep.kept_session() if isinstance(keep, SessionStore) else None
    run_now(_store().revoke(str(user), handle, kept))
