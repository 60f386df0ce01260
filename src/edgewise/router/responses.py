"""The table `respond` to answers: fixed ones, ones that templates make of the request, the keys of [identity]."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from edgewise.contracts.plan import Answer, Params
from edgewise.gateway.identity_keys import jwk_set
from edgewise.router.policies.identity import load_keys

if TYPE_CHECKING:
    from edgewise.config.identity import Identity
    from edgewise.config.routes import Respond
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.policies import Policy
    from edgewise.http.head import RequestHead

Answering = Callable[["RequestHead", Params, bytes], Answer]
"""(head, path parameters, scheme) -> answer."""
_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEYS_FIELDS = ((b"Content-Type", b"application/jwk-set+json"), (b"Cache-Control", b"public, max-age=300"))


def answering(spec: Respond, identity: Identity) -> Answering:
    """Return what answers as `respond` says. Raises OSError or ValueError for keys that cannot be read."""
    if spec.identity_keys:
        keys = Answer(200, _KEYS_FIELDS, jwk_set(load_keys(identity)))
        return lambda head, params, scheme: keys
    if spec.template:
        return _Templates(spec).answer
    fields = [(b"Content-Type", spec.content_type.encode("latin-1"))]
    fields += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in spec.headers.items()]
    fixed = Answer(spec.status, tuple(fields), spec.body.encode())
    return lambda head, params, scheme: fixed


def delayed(seconds: float) -> Policy:
    """Return what lets a request wait before it is answered."""

    async def wait(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)

    return wait


class _Templates:
    """Body and fields with the values of a request in place of `{name}`.

    A value can say nothing but itself: it is escaped for what the content is, and percent-encoded as it came in fields.
    """

    def __init__(self, spec: Respond) -> None:
        self._status = spec.status
        self._type = (b"Content-Type", spec.content_type.encode("latin-1"))
        self._fields = tuple(spec.headers.items())
        self._body = spec.body
        self._escape = _escape_for(spec.content_type)

    def answer(self, head: RequestHead, params: Params, scheme: bytes) -> Answer:
        """Answer a request."""
        own = {"method": head.method, "scheme": scheme, "host": head.host, "path": head.path}
        told = {**own, "query": head.query or b"", **params}
        values = {name: value.decode("latin-1") for name, value in told.items()}
        shown = {name: self._escape(_decoded(value)) for name, value in values.items()}
        fields = [(name.encode("latin-1"), _filled(text, values).encode("latin-1")) for name, text in self._fields]
        return Answer(self._status, (self._type, *fields), _filled(self._body, shown).encode())


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Fill in the names there are values for; other braces stay, such as those of JSON."""
    return _NAME.sub(lambda found: values.get(found[1], found[0]), text)


def _decoded(value: str) -> str:
    return unquote_to_bytes(value.encode("latin-1")).decode("utf-8", "replace")


def _escape_for(content_type: str) -> Callable[[str], str]:
    """Return what keeps a value from being more than text in content of a type."""
    media = content_type.partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")):
        return lambda value: json.dumps(value)[1:-1]
    if media in ("text/plain", "text/csv"):
        return lambda value: value
    return lambda value: html.escape(value)
