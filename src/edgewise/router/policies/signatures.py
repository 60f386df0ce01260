"""A table of [signatures] to the way of telling senders by them."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.config.signatures import PLACEHOLDER
from edgewise.contracts.identity import Identity
from edgewise.gateway.signatures import Form, SignedRequests
from edgewise.router.policies.building import Building

if TYPE_CHECKING:
    from edgewise.config.signatures import Signature
    from edgewise.contracts.policies import Authenticator

_LEAST_SECRET, _MOST_SECRET = 8, 4096
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def signature(name: str, building: Building) -> Authenticator:
    """Return the way. Raises OSError or ValueError for a secret that is not there or is none."""
    gateway = building.gateway
    spec = gateway.config.signatures[name]
    form = _form(spec)
    secrets = tuple(_secret(text, spec.secret_form, where) for text, where in _written(name, spec))
    identity = Identity(spec.name or name, "signature", groups=frozenset(spec.groups))
    return gateway.share(
        ("signature", name, identity.name, identity.groups, form, secrets),
        lambda: SignedRequests(name, identity, form, secrets, gateway.opening),
    )


def _form(spec: Signature) -> Form:
    timed = bool(spec.timestamp_header or spec.timestamp)
    once = spec.once if spec.once is not None else 2 * spec.tolerance if timed else 0
    return Form(
        header=spec.header.lower().encode(),
        prefix=spec.prefix.encode(),
        separator=spec.separator.encode(),
        pairs=spec.pairs.encode(),
        timestamp=spec.timestamp.encode(),
        timestamp_header=(spec.timestamp_header or "").lower().encode(),
        algorithm=spec.algorithm,
        encoding=spec.encoding,
        signed=tuple(_pieces(spec.signed)),
        tolerance=spec.tolerance,
        once=float(max(once, 1) if once else 0),
        most=spec.max_body,
    )


def _pieces(template: str) -> list[tuple[str, bytes]]:
    pieces = []
    at = 0
    for found in PLACEHOLDER.finditer(template):
        pieces.append(("text", template[at : found.start()].encode()))
        pieces.append((found[1], (found[2] or "").lower().encode()))
        at = found.end()
    pieces.append(("text", template[at:].encode()))
    return [(kind, value) for kind, value in pieces if kind != "text" or value]


def _written(name: str, spec: Signature) -> list[tuple[str, str]]:
    """Return the secrets as they are written, each with where it stands."""
    found = [(text, f"signatures.{name}.secrets") for text in spec.secrets]
    for file in spec.secret_files:
        with Path(file).open("rb") as opened:
            data = opened.read(_MOST_SECRET + 1)
        found.append((data.rstrip(b"\r\n").decode("utf-8", "surrogateescape"), file))
    for variable in spec.secret_env:
        if variable not in os.environ:
            raise ValueError(f"signatures.{name}.secret_env: the environment has no {variable}")
        found.append((os.environ[variable], variable))
    return found


def _secret(text: str, form: str, where: str) -> bytes:
    """Return the key that a text stands for. Raises ValueError."""
    if form == "text":
        key = text.encode("utf-8", "surrogateescape")
    else:
        text = text.removeprefix("whsec_") if form == "whsec" else text
        if not _BASE64.fullmatch(text):
            raise ValueError(f"{where}: the secret is not in base64")
        key = b64decode(text)
    if not _LEAST_SECRET <= len(key) <= _MOST_SECRET:
        raise ValueError(f"{where}: a secret has {_LEAST_SECRET} to {_MOST_SECRET} bytes")
    return key
