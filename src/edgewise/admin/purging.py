"""`edgewise.purge`: purges of the HTTP cache from a program, by the admin address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from edgewise.admin.client import AdminClient, AdminError

VARIABLE = "EDGEWISE_ADMIN"
"""Environment variable in which edgewise tells the apps that it runs where its admin address is."""
PATH = "/api/v1/cache/purge"
PATIENCE = 60.0
"""Seconds for an answer: above those that workers and nodes have."""
Names = str | Iterable[str]
"""One, or several."""


class Purged(NamedTuple):
    """What came of a purge."""

    nodes: int
    """On which no worker finds any of it any more."""
    objects: int
    """Stored answers that a dry run counted."""


def purge(
    *,
    tags: Names = (),
    urls: Names = (),
    prefixes: Names = (),
    hosts: Names = (),
    patterns: Names = (),
    all: bool = False,
    soft: bool = False,
    dry_run: bool = False,
    admin: str | None = None,
) -> Purged:
    """Have stored answers be forgotten, those that any of the arguments names, and wait until that is done everywhere.

    `soft`: they are made stale, to be validated, instead. `dry_run`: they are counted on the node that is asked.
    `admin`: address of an edgewise, "host:port" or "unix:/path"; for apps that edgewise runs it is their own. Raises
    AdminError where it is not known, does not answer or refuses, and where not everybody has purged in time.
    """
    named = {"tags": tags, "urls": urls, "prefixes": prefixes, "hosts": hosts, "patterns": patterns}
    wanted = {name: [value] if isinstance(value, str) else list(value) for name, value in named.items()}
    client = AdminClient(admin or address_from_environment())
    answer = client.post(PATH, PATIENCE, {**wanted, "all": all, "soft": soft, "dry_run": dry_run})
    return Purged(answer["nodes"], answer.get("objects", 0))


async def apurge(
    *,
    tags: Names = (),
    urls: Names = (),
    prefixes: Names = (),
    hosts: Names = (),
    patterns: Names = (),
    all: bool = False,
    soft: bool = False,
    dry_run: bool = False,
    admin: str | None = None,
) -> Purged:
    """See `purge`; waits in a thread."""
    named = partial(purge, tags=tags, urls=urls, prefixes=prefixes, hosts=hosts, patterns=patterns, all=all)
    return await asyncio.to_thread(named, soft=soft, dry_run=dry_run, admin=admin)


def address_from_environment(environ: Mapping[str, str] = os.environ) -> str:
    """Return the admin address of the edgewise that runs this process. Raises AdminError."""
    address = environ.get(VARIABLE)
    if not address:
        raise AdminError(
            f"no admin address: name one, or run the app by an edgewise whose server.admin is not off ({VARIABLE})"
        )
    return address
