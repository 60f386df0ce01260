"""Sessions in JWTs: an access token that is verified without a look at the engine, and one to refresh it, used once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import NamedTuple

import msgspec

from edgewise.sessions.claims import Access, Refresh, Tokens, to_json
from edgewise.sessions.cookies import SEPARATOR
from edgewise.sessions.families import Families, Family, Found, info_of
from edgewise.sessions.jwt import MOST_CHARACTERS
from edgewise.sessions.records import VERSION, Keys
from edgewise.sessions.revocation import Revocations
from edgewise.sessions.session import Session
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.store import KeyValues, SessionConflict, SessionGone, SessionInfo, SessionTooLarge

log = logging.getLogger("edgewise.sessions")
_ATTRIBUTES = 256
"""Bytes of a cookie kept free for its name's ending and its attributes."""
_TRIES = 32
_GONE = "the session was ended or got new tokens while this request was under way"
_CONFLICT = f"other requests changed the session {_TRIES} times while this one tried to"
Changes = Mapping[str, bytes | None]


class _Origin(NamedTuple):
    """Where a session came from."""

    sid: str
    user: str
    """Whose it was when it was read."""
    generation: int
    found: Found | None = None
    """The family, where it was read because the access token is to be refreshed."""
    number: int = 0
    """Of the refresh token that the request came with."""


class TokenSessions:
    """`SessionStore` of JWTs; its tokens are an access and a refresh token, or one of them, with "~" in between.

    The engine is asked what was revoked, at most once in `revocation_delay` a user, and keeps what was changed: an
    access token is signed anew from that. `clock` returns Unix time. Raises ValueError for keys that cannot be used.
    """

    def __init__(
        self,
        settings: SessionSettings,
        engine: KeyValues,
        *,
        session_class: type[Session] = Session,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._class = session_class
        self._clock = clock
        self._tokens = Tokens(settings, clock)
        self._most = MOST_CHARACTERS - _ATTRIBUTES - len(settings.cookie + settings.domain + settings.path)
        keys = Keys(settings.namespace)
        self._families = Families(engine, keys)
        self._revocations = Revocations(
            engine,
            keys,
            settings.revocation_delay,
            stale=settings.when_lost == "stale",
            clock=clock,
            monotonic=monotonic,
        )

    def _audience(self, host: str) -> str:
        return self._settings.jwt_audience or host

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def open(self, token: str | None, audience: str = "") -> Session:
        """Return the session of an access token that is good, else of a refresh token, else an empty one."""
        access_token, _, refresh_token = (token or "").partition(SEPARATOR)
        read = self._tokens.access(access_token, self._audience(audience)) if access_token else None
        if read is not None and not await self._is_revoked(read[0].sub, read[0].gen, read[0].sid):
            access, data = read
            return self._class(
                data,
                origin=_Origin(access.sid, access.sub, access.gen),
                user=access.sub,
                label=access.label,
                created=access.created,
                authenticated=access.auth_time,
            )
        return await self._refreshed(refresh_token, self._audience(audience)) if refresh_token else self._class()

    async def _is_revoked(self, user: str, generation: int, sid: str) -> bool:
        if not user:
            return False
        revoked = await self._revocations.of(user)
        return revoked.generation not in (0, generation) or sid in revoked.ended

    async def _refreshed(self, token: str, audience: str) -> Session:
        """Return the session of a refresh token. One used before ends all that came of it (RFC 9700, 4.14.2)."""
        claims = self._tokens.refresh(token, audience)
        found = None if claims is None else await self._families.find(claims.sid)
        if claims is None or found is None or self._left(found.family) <= 0:
            return self._class()
        family = found.family
        if await self._is_revoked(family.user, family.generation, found.sid):
            return self._class()
        if not self._is_good(family, claims.number):
            if claims.number < family.number:
                log.warning("a refresh token of %r was used twice: its session is ended", family.user)
                await self._end(found.sid, family.user)
            return self._class()
        return self._class(
            family.data,
            origin=_Origin(found.sid, family.user, family.generation, found, claims.number),
            user=family.user,
            label=family.label,
            created=family.created,
            authenticated=family.authenticated,
        )

    def _is_good(self, family: Family, number: int) -> bool:
        """Is this the number of the last token, or that before it while the last may not have arrived?"""
        if number == family.number:
            return True
        return number == family.number - 1 and self._clock() - family.rotated < self._settings.grace

    def _left(self, family: Family) -> float:
        """Return the seconds until a session ends, however much it is used."""
        return min(family.deadline, family.created + self._settings.absolute) - self._clock()

    def _ttl(self, family: Family) -> float:
        return min(self._settings.idle, self._left(family))

    # ---- writing -----------------------------------------------------------------------------------------------------

    async def commit(self, session: Session, audience: str = "") -> str | None:
        """Write what changed; return new tokens where the client's are to be replaced.

        Raises SessionTooLarge, SessionGone or SessionConflict.
        """
        host, origin = self._audience(audience), session.origin
        if session.ended:
            if isinstance(origin, _Origin):
                await self._end(origin.sid, origin.user)
            session.forget()
            return await self._begin(session, host) if session else ""
        changes = session.changes()
        if not isinstance(origin, _Origin):
            wanted = session.logs_in or ((bool(changes) or session.forced) and not session.muted)
            return await self._begin(session, host) if wanted else None
        if session.logs_in or session.rotates:
            return await self._replace(session, origin, changes, host)
        if origin.found is not None:
            return await self._refresh(session, origin, origin.found, changes, host)
        if changes or session.forced:
            return await self._update(session, origin, changes, host)
        return None

    async def _end(self, sid: str, user: str) -> None:
        """End a session: its refresh tokens, and the access tokens that are out."""
        await self._families.end(sid, user)
        if user:
            await self._revocations.end(user, sid, self._clock() + self._settings.access + self._settings.leeway + 1)

    async def _begin(self, session: Session, audience: str) -> str:
        """Keep a session that is new."""
        found = await self._put(await self._family(session, session.content()), audience)
        session.muted = False
        return self._kept(session, found, audience, refreshes=True)

    async def _family(self, session: Session, data: Mapping[str, msgspec.Raw]) -> Family:
        """Return the family of a session that is new, or of who logs in."""
        now = self._clock()
        generation = (await self._revocations.fresh(session.user)).generation if session.user else 0
        authenticated = now if session.logs_in else 0.0
        return Family(
            version=VERSION,
            created=now,
            deadline=now + self._settings.absolute,
            user=session.user,
            label=session.label,
            authenticated=authenticated,
            generation=generation,
            data=dict(data),
            number=1,
            rotated=now,
        )

    async def _put(self, family: Family, audience: str) -> Found:
        """Keep a family under a new name."""
        self._access("", family, audience)  # what does not fit leaves no trace
        return await self._families.begin(family, self._ttl(family), self._left(family))

    async def _replace(self, session: Session, origin: _Origin, changes: Changes, audience: str) -> str:
        """Begin a new family, then end the old one; what others change in between comes along."""
        for _ in range(_TRIES):
            old = await self._families.find(origin.sid)
            if old is None and not session.logs_in:  # the same form sent twice: this login is as good as the other
                raise SessionGone(_GONE)
            new = await self._put(await self._successor(session, old, changes), audience)
            if old is None or await self._families.end(old.sid, old.family.user, old.revision):
                if old is not None:
                    await self._end(old.sid, old.family.user)
                return self._kept(session, new, audience, refreshes=True)
            await self._families.end(new.sid, new.family.user)
        raise SessionConflict(_CONFLICT)

    async def _successor(self, session: Session, old: Found | None, changes: Changes) -> Family:
        """Return what takes the place of a family at a login or rotation."""
        if old is None or old.family.user not in ("", session.user):
            return await self._family(session, session.content())
        data = session.merged(old.family.data, changes)
        if session.logs_in:
            return await self._family(session, data)
        now, user, label = self._clock(), session.user, session.label
        return msgspec.structs.replace(old.family, user=user, label=label, data=data, number=1, rotated=now)

    async def _refresh(
        self, session: Session, origin: _Origin, found: Found, changes: Changes, audience: str
    ) -> str | None:
        """Give new tokens in exchange for the refresh token; where another request did, those that it got."""
        for _ in range(_TRIES):
            family = found.family
            if not self._is_good(family, origin.number):
                raise SessionGone(_GONE)
            if origin.number == family.number:
                family = msgspec.structs.replace(family, number=family.number + 1, rotated=self._clock())
            elif not changes and not session.forced:
                return self._kept(session, found, audience, refreshes=True)
            written = await self._write(session, found, family, changes, audience)
            if written is not None:
                return self._kept(session, written, audience, refreshes=True)
            found = await self._found(found.sid)
        raise SessionConflict(_CONFLICT)

    async def _update(self, session: Session, origin: _Origin, changes: Changes, audience: str) -> str:
        """Write changes over what is kept by now; return the access token that says so."""
        for _ in range(_TRIES):
            found = await self._found(origin.sid)
            written = await self._write(session, found, found.family, changes, audience)
            if written is not None:
                return self._kept(session, written, audience, refreshes=False)
        raise SessionConflict(_CONFLICT)

    async def _write(
        self, session: Session, found: Found, family: Family, changes: Changes, audience: str
    ) -> Found | None:
        family = msgspec.structs.replace(family, data=session.merged(found.family.data, changes))
        self._access(found.sid, family, audience)  # what does not fit is not written
        ttl = self._ttl(family) if family.number != found.family.number else min(found.ttl, self._left(family))
        return await self._families.replace(found, family, ttl)

    async def _found(self, sid: str) -> Found:
        found = await self._families.find(sid)
        if found is None or self._left(found.family) <= 0:
            raise SessionGone(_GONE)
        return found

    def _kept(self, session: Session, found: Found, audience: str, *, refreshes: bool) -> str:
        """Take note of what was written; return the tokens for it."""
        family = found.family
        session.created, session.authenticated = family.created, family.authenticated
        session.kept(family.data, _Origin(found.sid, family.user, family.generation))
        access = self._access(found.sid, family, audience)
        return f"{access}{SEPARATOR}{self._refresh_token(found, audience) if refreshes else ''}"

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def _access(self, sid: str, family: Family, audience: str) -> str:
        """Return an access token. Raises SessionTooLarge, and ValueError for what JSON cannot hold."""
        now = self._clock()
        claims = Access(
            iss=self._tokens.issuer,
            aud=audience,
            iat=int(now),
            nbf=int(now),
            exp=ceil(now + min(self._settings.access, self._left(family))),
            sid=sid,
            created=family.created,
            gen=family.generation,
            sub=family.user,
            auth_time=family.authenticated,
            label=family.label,
            data=to_json(family.data),
        )
        token = self._tokens.sign_access(claims)
        if len(token) > self._most:
            raise SessionTooLarge(
                f"the session takes {len(token)} bytes as a JWT; a cookie has room for {self._most}, "
                "and it is never split: keep less in it, or use stateful sessions"
            )
        return token

    def _refresh_token(self, found: Found, audience: str) -> str:
        """Return the refresh token of a family; the same one whenever it is asked for."""
        family = found.family
        expires = min(family.rotated + self._settings.idle, family.deadline)
        return self._tokens.sign_refresh(
            Refresh(self._tokens.issuer, audience, int(family.rotated), ceil(expires), found.sid, family.number)
        )

    # ---- a user's sessions -------------------------------------------------------------------------------------------

    def due(self, session: Session) -> bool:
        """Did the request come with an access token that is over?"""
        return isinstance(session.origin, _Origin) and session.origin.found is not None

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return a user's sessions, latest login first."""
        found = [await self._families.find(sid) async for sid in self._families.of(user)]
        live = [
            info_of(each)
            for each in found
            if each is not None
            and self._left(each.family) > 0
            and not await self._is_revoked(user, each.family.generation, each.sid)
        ]
        return sorted(live, key=lambda info: info.created, reverse=True)

    async def revoke(self, user: str, handle: str | None = None, keep: Session | None = None) -> None:
        """End a user's sessions: the one named, or all, or all but `keep`, which gets a new access token.

        Refresh tokens end at once; of access tokens each process learns within `revocation_delay`.
        """
        if handle is not None:
            found = await self._families.find(handle)
            if found is not None and found.family.user == user:
                await self._end(handle, user)
            return
        generation = await self._revocations.end_all(user)
        kept = keep.origin if keep is not None and keep.user == user else None
        if keep is not None and isinstance(kept, _Origin):
            keep.origin = kept._replace(generation=generation)
            keep.forced = True
            await self._regenerate(kept.sid, generation)
        async for sid in self._families.of(user):
            if not isinstance(kept, _Origin) or sid != kept.sid:
                await self._families.end(sid, user)

    async def _regenerate(self, sid: str, generation: int) -> None:
        """Let a family be of another generation."""
        for _ in range(_TRIES):
            found = await self._found(sid)
            family = msgspec.structs.replace(found.family, generation=generation)
            if await self._families.replace(found, family, found.ttl) is not None:
                return
        raise SessionConflict(_CONFLICT)
