"""A session as an app sees it: a mapping that knows what was changed. It does no input or output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec

from edgewise.sessions import csrf
from edgewise.sessions.values import Value, decode_value, encode_value, is_scalar

Encoded = dict[str, msgspec.Raw]
"""Each key's value as msgpack."""
Function = Callable[[Any], Value]
_MISSING = object()


class Session(MutableMapping[str, Value]):
    """What an app keeps about a user between requests.

    Changes are noticed by themselves, those inside lists and dicts too, and written once, as the answer begins. Two
    requests that change different keys at the same time both count; of two that set the same key the later one does,
    and with `change` both do.
    """

    label: str
    """What tells this session from the user's others, such as the name of a device; given at login."""
    created: float
    """Unix time; of the login, where there was one. 0 where nothing was kept yet."""
    authenticated: float
    """Unix time of the last login; 0 while nobody has."""
    idle: float | None = None
    """Stateful: ends when unused for so many seconds after this request, where that is not as in the settings."""
    left: float = 0.0
    """Stateful: seconds that it would have lived on unused when it was read."""
    muted = logs_in = rotates = ended = forced = False
    accessed = False
    """Did the app look at it? Then the answer depends on the cookie."""
    bearer = False
    """Did it come with a token in the Authorization field, which no browser sends by itself?"""

    def __init__(
        self,
        data: Mapping[str, msgspec.Raw] | None = None,
        *,
        origin: object = None,
        muted: bool = False,
        user: str = "",
        label: str = "",
        created: float = 0.0,
        authenticated: float = 0.0,
    ) -> None:
        """For stores: `data` and `origin` are what was kept; `muted` drops what is written, unless somebody logs in."""
        self._user = user
        self.label = label
        self.created = created
        self.authenticated = authenticated
        self.origin = origin
        if muted:
            self.muted = True
        self._data: Mapping[str, msgspec.Raw] = {} if data is None else data
        """Never changed in place: other sessions may have it too."""
        self._values: dict[str, Value] = {}
        """Decoded or set since."""
        self._suspects: set[str] = set()
        """Keys of `_values` that may differ from `_data`."""
        self._removed: set[str] = set()
        self._functions: dict[str, list[tuple[Function, Value]]] = {}

    def __getitem__(self, key: str) -> Value:
        self.accessed = True
        value = self._values.get(key, _MISSING)
        if value is _MISSING:
            if key in self._removed:
                raise KeyError(key)
            value = self._values[key] = decode_value(self._data[key])
            if not is_scalar(value):
                self._suspects.add(key)
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a session's keys are str, not {type(key).__name__}")
        self.accessed = True
        self._functions.pop(key, None)
        self._removed.discard(key)
        self._values[key] = value
        self._suspects.add(key)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._functions.pop(key, None)
        self._values.pop(key, None)
        self._suspects.discard(key)
        self._removed.add(key)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return key in self._values or (key in self._data and key not in self._removed)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        kept = [key for key in self._data if key not in self._removed]
        return iter(kept + [key for key in self._values if key not in self._data or key in self._removed])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        """Remove every key."""
        self.accessed = True
        self._values.clear()
        self._suspects.clear()
        self._functions.clear()
        self._removed = set(self._data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.user or 'nobody'}, keys {', '.join(self)}>"

    def change(self, key: str, function: Function, default: Value = None) -> Value:
        """Set a key to `function` of its value (or of `default`) and return that, in one step.

        Where another request changes the key at the same time, the function is called again with what that one wrote.
        """
        functions = [*self._functions.get(key, ()), (function, default)]
        value = function(self.get(key, default))
        self[key] = value
        self._functions[key] = functions
        return value

    def login(self, user: str, label: str = "") -> None:
        """Make this the session of `user`, under a new id. What another user left in it is dropped."""
        if not user:
            raise ValueError("who logs in has a name")
        if self.user not in ("", user):
            self.clear()
        self.pop(csrf.KEY, None)
        self.user, self.label = user, label
        self.logs_in = True
        self.ended = False
        self.accessed = True

    def rotate(self) -> None:
        """Give this session a new id, as at every change of privileges; the old one is worth nothing from then on."""
        self.rotates = True

    def csrf_token(self) -> str:
        """Return a token for a form or script of this session; another text each time, good until the next login."""
        secret = self.get(csrf.KEY)
        if not isinstance(secret, str):
            secret = self[csrf.KEY] = csrf.new_secret()
        return csrf.masked(secret)

    def verify_csrf(self, token: str | None) -> bool:
        """Does a request that changes something come from a page of this session? By the token that came with it.

        One with an access token in its Authorization field needs none: no browser adds that by itself.
        """
        return self.bearer or csrf.matches(token, self.get(csrf.KEY))

    def logout(self) -> None:
        """End this session; the cookie is removed, and copies of it are worth nothing."""
        self.clear()
        self.user = self.label = ""
        self.logs_in = self.rotates = False
        self.ended = True

    @property
    def user(self) -> str:
        """Who logged in; "" while nobody has."""
        self.accessed = True
        return self._user

    @user.setter
    def user(self, user: str) -> None:
        self._user = user

    @property
    def new(self) -> bool:
        """Is nothing of it kept yet?"""
        return self.origin is None

    @property
    def modified(self) -> bool:
        """Is there something to write? Setting it to True writes even where no value changed."""
        if self._suspects or self._removed:
            return self.forced or self.logs_in or self.rotates or self.ended or bool(self.changes())
        return self.forced or self.logs_in or self.rotates or self.ended

    @modified.setter
    def modified(self, value: bool) -> None:
        self.forced = value

    def changes(self) -> dict[str, bytes | None]:
        """Return what differs from what was kept, encoded; None for a key that was removed.

        Raises TypeError or ValueError for a value that no session can hold.
        """
        changed: dict[str, bytes | None] = {}
        for key in self._suspects:
            try:
                encoded = encode_value(self._values[key])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{key!r}: {error}") from None
            if key not in self._data or encoded != bytes(self._data[key]):
                changed[key] = encoded
        for key in self._removed:
            if key in self._data:
                changed[key] = None
        return changed

    def merged(self, data: Mapping[str, msgspec.Raw], changes: Mapping[str, bytes | None]) -> Encoded:
        """Return `data`, as it is kept by now, with `changes` made to it."""
        merged = dict(data)
        for key, encoded in changes.items():
            if encoded is None:
                merged.pop(key, None)
            elif key in self._functions and _differs(data.get(key), self._data.get(key)):
                merged[key] = msgspec.Raw(self._called(key, data))
            else:
                merged[key] = msgspec.Raw(encoded)
        return merged

    def content(self) -> Encoded:
        """Return all that is in it, encoded."""
        content = {key: encoded for key, encoded in self._data.items() if key not in self._removed}
        content.update((key, msgspec.Raw(encoded)) for key, encoded in self.changes().items() if encoded is not None)
        return content

    def _called(self, key: str, data: Mapping[str, msgspec.Raw]) -> bytes:
        """Return what the functions of a key make of its value in `data`."""
        first_default = self._functions[key][0][1]
        value = decode_value(data[key]) if key in data else first_default
        for function, _default in self._functions[key]:
            value = function(value)
        return encode_value(value)

    def kept(self, data: Mapping[str, msgspec.Raw], origin: object) -> None:
        """Take note that all of it was written: `data` is what is kept now. Values got so far go on being followed."""
        self._data = data
        self.origin = origin
        self._values = {key: value for key, value in self._values.items() if key not in self._functions}
        self._suspects = {key for key, value in self._values.items() if not is_scalar(value)}
        self._removed.clear()
        self._functions.clear()
        self.forced = self.logs_in = self.rotates = False

    def forget(self) -> None:
        """Take note that it was ended: what is written from now on begins a new one."""
        self._data, self.origin = {}, None
        self._removed.clear()
        self.created = self.authenticated = 0.0
        self.ended = False


def _differs(one: msgspec.Raw | None, other: msgspec.Raw | None) -> bool:
    return (None if one is None else bytes(one)) != (None if other is None else bytes(other))
