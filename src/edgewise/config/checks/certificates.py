"""Client certificates that tell who asks: that some host asks for them, and that revocation lists can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.problems import Mistake


def check_certificates(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of `auth.client_certificate`."""
    demands = [value_at(data, "tls", "client_auth")]
    demands += [host.get("client_auth") for _, host in tables(data, "tls", "hosts")]
    asked = any(demand in ("optional", "required") for demand in demands)
    for path, policies in policy_tables(data):
        spec = value_at(policies, "auth", "client_certificate")
        if not isinstance(spec, dict):
            continue
        where = (*path, "auth", "client_certificate")
        if not asked:
            expected = 'client_auth = "optional" or "required" in [tls] or a table of tls.hosts'
            yield Mistake(where, "no host asks for client certificates", expected)
        for index, name in enumerate(texts(spec.get("revoked", []))):
            if name and not (directory / name).is_file():
                message = f"there is no file {str(directory / name)!r}"
                yield Mistake((*where, "revoked", index), message, "the name of a revocation list")
