"""The conformance suite for stores of sessions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from edgewise.sessions import Session, SessionStore, SessionTooLarge

Pass = Callable[[float], Awaitable[None]]
MakeStore = Callable[[], Awaitable[SessionStore]]
"""Each call returns another process's view of the same sessions, idle for a minute at most and 150 seconds in all."""
IDLE = 60.0
ABSOLUTE = 150.0
HOST = "shop.example"


class Jar:
    """A browser: keeps the cookie that a store gives it."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    async def visit(self, store: SessionStore, use: Callable[[Session], Any] = lambda session: None) -> Session:
        """Make a request in which the app does `use`; return its session."""
        session = await store.open(self.token, HOST)
        use(session)
        token = await store.commit(session, HOST)
        if token is not None:
            self.token = token or None
        return session


def logs_in(user: str) -> Callable[[Session], None]:
    """Return what an app does at login."""
    return lambda session: session.login(user)


def sets(key: str, value: Any) -> Callable[[Session], None]:
    """Return what an app does to set a key."""
    return lambda session: session.update({key: value})


async def check_session_store(make: MakeStore, sleep: Pass) -> None:
    """Raise AssertionError where a store breaks the contract of `SessionStore`. `sleep` lets its clock pass."""
    for check in CHECKS:
        await check(await make(), await make(), sleep)


Check = Callable[[SessionStore, SessionStore, Pass], Coroutine[Any, Any, None]]


async def what_is_kept_is_read_by_every_process(store: SessionStore, other: SessionStore, _: Pass) -> None:
    """JSON-like values come back as they were."""
    value = {"n": [None, True, 2**63, -1.5, "ü\0"], "deep": {"a": {"b": []}}}
    jar = Jar()
    await jar.visit(store, sets("v", value))
    assert jar.token, "no cookie was set for a session that was written"
    assert dict(await jar.visit(other)) == {"v": value}, "a session was not read as it was written"
    session = await jar.visit(other, lambda session: session["v"]["n"].append(1))
    assert (await jar.visit(store))["v"]["n"][-1] == 1, "a change inside a list was not noticed"
    assert (session.user, session.authenticated) == ("", 0.0)


async def a_visit_without_changes_sets_no_cookie(store: SessionStore, other: SessionStore, _: Pass) -> None:
    """Sessions begin when there is something to keep."""
    assert await store.commit(await store.open(None), HOST) is None, "a cookie was set for an empty session"
    jar = Jar()
    await jar.visit(store, sets("a", 1))
    session = await other.open(jar.token, HOST)
    assert session["a"] == 1
    assert await other.commit(session, HOST) is None, "a cookie was set though nothing changed"


async def a_token_that_is_not_known_is_never_adopted(store: SessionStore, _other: SessionStore, _: Pass) -> None:
    """Session fixation: who plants an id does not come to know the victim's."""
    for planted in ("", "x", "A" * 43, "A" * 86, "A" * 4000, "ü" * 43, "A" * 42 + "\n"):
        jar = Jar(planted)
        session = await jar.visit(store, logs_in("victim"))
        assert session.user == "victim"
        assert jar.token not in (None, planted), "a planted id became that of a session"
        assert (await Jar(planted).visit(store)).user == "", "a planted id opens a session"


async def login_and_rotation_end_the_old_token(store: SessionStore, other: SessionStore, sleep: Pass) -> None:
    """The data comes along; the old id is worth nothing, at once and later."""
    jar = Jar()
    await jar.visit(store, sets("cart", [1]))
    planted = jar.token
    await jar.visit(store, logs_in("ann"))
    assert jar.token != planted
    session = await jar.visit(other)
    assert (session.user, session["cart"]) == ("ann", [1]), "login lost the session"
    assert session.authenticated > 0
    assert (await Jar(planted).visit(other)).user == "", "the id from before login opens the session"
    before = jar.token
    await jar.visit(other, Session.rotate)
    await sleep(1.0)
    assert (await Jar(before).visit(store)).user == "", "the id from before a rotation opens the session"
    assert (await jar.visit(store)).user == "ann"


async def another_users_login_drops_the_data(store: SessionStore, _other: SessionStore, _: Pass) -> None:
    """What one user left is nothing for the next at the same browser."""
    jar = Jar()
    await jar.visit(store, logs_in("ann"))
    await jar.visit(store, sets("secret", "ann's"))
    await jar.visit(store, logs_in("ben"))
    session = await jar.visit(store)
    assert (session.user, dict(session)) == ("ben", {})


async def a_copied_cookie_is_worth_nothing_after_logout(store: SessionStore, other: SessionStore, sleep: Pass) -> None:
    """Replay after logout."""
    jar = Jar()
    await jar.visit(store, logs_in("cat"))
    copy = jar.token
    await jar.visit(store, Session.logout)
    assert jar.token is None, "logout left the cookie"
    await sleep(1.0)
    assert (await Jar(copy).visit(other)).user == "", "a copied cookie outlived the logout"
    await Jar(copy).visit(store, sets("a", 1))
    assert (await Jar(copy).visit(store)).new, "a late write revived a session that was ended"


async def a_session_ends_when_unused_or_old(store: SessionStore, _other: SessionStore, sleep: Pass) -> None:
    """Idle and absolute expiry; use keeps it alive only up to the latter."""
    jar, idle = Jar(), Jar()
    await jar.visit(store, logs_in("dan"))
    await idle.visit(store, logs_in("dan"))
    for _ in range(3):
        await sleep(IDLE * 0.7)
        assert (await jar.visit(store)).user == "dan", "a session in use ended"
    assert (await idle.visit(store)).new, "a session outlived its idle time"
    await sleep(ABSOLUTE - 3 * IDLE * 0.7 + 1)
    assert (await jar.visit(store)).new, "a session outlived its longest time"


async def all_sessions_of_a_user_are_revoked(store: SessionStore, other: SessionStore, sleep: Pass) -> None:
    """Everywhere, but for the one that asked and those of others; and logins that come later are good."""
    jars = [Jar() for _ in range(3)]
    for jar in jars:
        await jar.visit(store, logs_in("eve"))
    stranger = Jar()
    await stranger.visit(store, logs_in("fay"))
    kept = await other.open(jars[0].token, HOST)
    await other.revoke("eve", keep=kept)
    jars[0].token = await other.commit(kept, HOST) or jars[0].token
    await sleep(1.0)
    users = [(await jar.visit(store)).user for jar in (*jars, stranger)]
    assert users == ["eve", "", "", "fay"], f"after revoking all but the first and a stranger's: {users}"
    await other.revoke("eve")
    await sleep(1.0)
    assert (await jars[0].visit(store)).user == "", "a session outlived the revocation of all"
    await jars[1].visit(store, logs_in("eve"))
    await sleep(1.0)
    assert (await jars[1].visit(other)).user == "eve", "a login after the revocation is worth nothing"


async def what_does_not_fit_is_refused(store: SessionStore, _other: SessionStore, _: Pass) -> None:
    """With an error that says so, and without a trace."""
    jar = Jar()
    await jar.visit(store, sets("a", 1))
    for wrong, error in (
        (os.urandom(70_000).hex(), SessionTooLarge),
        (object(), TypeError),
        ({1: 2}, TypeError),
        (b"bytes", TypeError),
        (2**64, ValueError),
        ("\ud800", ValueError),
    ):
        try:
            await jar.visit(store, sets("b", wrong))
        except error:
            continue
        raise AssertionError(f"a value of type {type(wrong).__name__} was not refused with {error.__name__}")
    assert dict(await jar.visit(store)) == {"a": 1}


CHECKS: list[Check] = [
    what_is_kept_is_read_by_every_process,
    a_visit_without_changes_sets_no_cookie,
    a_token_that_is_not_known_is_never_adopted,
    login_and_rotation_end_the_old_token,
    another_users_login_drops_the_data,
    a_copied_cookie_is_worth_nothing_after_logout,
    a_session_ends_when_unused_or_old,
    all_sessions_of_a_user_are_revoked,
    what_does_not_fit_is_refused,
]
