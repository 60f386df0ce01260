"""What apps tell the gateway about who logs in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

CONTROL = "X-Edgewise-Session"
"""Field of an app's answer: `end`, or who logs in as JSON. It never comes from a client nor goes to one."""
_MOST_BYTES = 4096
_MOST_GROUPS = 64
_USER = re.compile(r"[!-~]{1,256}")
_GROUP = re.compile(r"[!-+\--~]{1,64}")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Who logs in: `{"user": "alice", "groups": ["staff"]}`. Visible ASCII; no comma in a group."""

    user: str
    groups: list[str] = []


_decode = msgspec.json.Decoder(Login).decode


def parse_control(values: Sequence[str]) -> Login | None:
    """Return who logs in by the control fields of an answer; None: the session ends. Raises ValueError."""
    if len(values) != 1 or len(values[0]) > _MOST_BYTES:
        raise ValueError(f"{CONTROL} must be there once, with at most {_MOST_BYTES} bytes")
    if values[0] == "end":
        return None
    try:
        login = _decode(values[0])
    except msgspec.MsgspecError as error:
        raise ValueError(f'{CONTROL} is neither "end" nor who logs in: {error}') from None
    if not _USER.fullmatch(login.user) or len(login.groups) > _MOST_GROUPS:
        raise ValueError(f"{CONTROL}: the user is 1 to 256 visible ASCII characters, groups are at most {_MOST_GROUPS}")
    if not all(_GROUP.fullmatch(group) for group in login.groups):
        raise ValueError(f"{CONTROL}: a group is 1 to 64 visible ASCII characters without a comma")
    return login
