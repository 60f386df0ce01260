"""Verifies passwords against their hashes, in threads, few at a time; makes hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from edgewise.config.passwords import scheme_of

AT_ONCE = 2
"""Passwords that a worker verifies at once: it goes on with other requests meanwhile, on the same cores."""
MOST_BYTES = 1024
"""Of a password."""
_SHA1 = 20
_MODULES = {"sha512-crypt": "sha512_crypt", "sha256-crypt": "sha256_crypt", "apr1": "apr_md5_crypt"}
threads = ThreadPoolExecutor(AT_ONCE, "passwords")


def matching(hashes: tuple[str, ...], password: bytes) -> str | None:
    """Return the hash that a password is the password of, None where there is none. Takes its time: for a thread."""
    return next((hashed for hashed in hashes if verify(hashed, password)), None)


def verify(hashed: str, password: bytes) -> bool:
    """Is this the password? False also for a hash that is none."""
    scheme = scheme_of(hashed)
    if scheme is None or not 0 < len(password) <= MOST_BYTES or b"\0" in password:
        return False
    if scheme.name == "argon2":
        return _argon2(hashed, password)
    if scheme.name == "bcrypt":
        return bool(import_module("bcrypt").checkpw(password[:72], hashed.encode()))  # as Apache and nginx cut them off
    if scheme.name in _MODULES:
        found: Any = getattr(import_module("passlib.hash"), _MODULES[scheme.name])
        return bool(found.verify(password, hashed))
    return _sha1(hashed, password)


def _argon2(hashed: str, password: bytes) -> bool:
    module = import_module("argon2")
    try:
        return bool(module.PasswordHasher().verify(hashed, password))
    except module.exceptions.VerificationError:
        return False


def _sha1(hashed: str, password: bytes) -> bool:
    """{SHA}, and {SSHA} with its salt behind the digest (RFC 2307)."""
    try:
        data = base64.b64decode(hashed.partition("}")[2], validate=True)
    except ValueError:
        return False
    digest, salt = data[:_SHA1], data[_SHA1:]
    return hmac.compare_digest(hashlib.sha1(password + salt, usedforsecurity=False).digest(), digest)


def make_hash(password: str) -> str:
    """Return a hash of a password by argon2id, in the parameters of RFC 9106's second choice. Raises ImportError."""
    return str(import_module("argon2").PasswordHasher().hash(password))
