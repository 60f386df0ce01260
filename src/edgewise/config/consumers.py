"""The tables of consumers: who has credentials of their own, and what they were granted."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from edgewise.config.passwords import missing, scheme_of
from edgewise.config.problems import BadValue, show
from edgewise.config.types import Model, Name

SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
PLAIN_KEY = re.compile(r"[!-~]{16,256}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}")
"""RFC 6749 section 3.3."""
_GROUP = re.compile(r"[!#-+\--\[\]-~]{1,64}")
"""The same without commas, which stand between groups where upstreams are told."""
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,1000}")
_NO_PLAIN = "its hash: argon2 or bcrypt, as `edgewise consumers hash` prints it"


def check_api_key(text: str) -> str:
    """Return an API key, or the SHA-256 of one. Raises BadValue, which never shows it."""
    if text.startswith("sha256:"):
        if not SHA256.fullmatch(text):
            raise BadValue("it is not the SHA-256 of a key", '"sha256:" and 64 hexadecimal digits in lower case')
    elif not PLAIN_KEY.fullmatch(text):
        raise BadValue("it is not an API key", "16 to 256 visible characters of ASCII, without spaces")
    return text


def check_password_hash(text: str) -> str:
    """Return the hash of a password by a scheme made for them. Raises BadValue, which never shows it."""
    scheme = scheme_of(text)
    if scheme is None:
        raise BadValue("it is not the hash of a password", _NO_PLAIN)
    if not scheme.slow:
        raise BadValue(f"{scheme.name} is too fast a hash for passwords", _NO_PLAIN)
    if lack := missing(scheme):
        raise BadValue(lack)
    return text


def check_group(text: str) -> str:
    """Return the name of a group. Raises BadValue."""
    if not _GROUP.fullmatch(text):
        raise BadValue(f"{show(text)} is not a group", "1 to 64 visible characters without comma, quote and backslash")
    return text


def check_scope(text: str) -> str:
    """Return a scope (RFC 6749 section 3.3). Raises BadValue."""
    if not _SCOPE.fullmatch(text):
        raise BadValue(f"{show(text)} is not a scope", "1 to 128 visible characters without quote and backslash")
    return text


def check_claim(text: str) -> str:
    """Return the value of a claim: a line of text. Raises BadValue."""
    if not _TEXT.fullmatch(text):
        raise BadValue(f"{show(text)} is not the value of a claim", "one line of at most 1000 characters")
    return text


class Consumer(Model):
    """Who has credentials of their own, such as a program or a partner; others are added at run time (consumers.md)."""

    api_keys: list[Annotated[str, AfterValidator(check_api_key)]] = Field(default=[], repr=False)
    """API keys: plain, of 16 characters or more, or `"sha256:..."`, the hexadecimal SHA-256 of one."""
    passwords: list[Annotated[str, AfterValidator(check_password_hash)]] = Field(default=[], repr=False)
    """Hashes of passwords for basic authentication: `"$argon2id$..."` or `"$2b$..."`."""
    groups: list[Annotated[str, AfterValidator(check_group)]] = Field(default=[])
    """Groups it belongs to."""
    scopes: list[Annotated[str, AfterValidator(check_scope)]] = Field(default=[])
    """What its credentials are for."""
    claims: dict[Name, Annotated[str, AfterValidator(check_claim)]] = Field(default={})
    """What else is known of it."""
