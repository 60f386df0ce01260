"""The table of the database whose writes are told to the caches."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue
from edgewise.config.types import Model

_EXPECTED = '"postgresql://USER@HOST:PORT/DATABASE"'
_URL = re.compile(r"postgres(?:ql)?://[!-~]*")


def _database_url(text: str) -> str:
    """Return the URL of a database. Raises BadValue, without the text, in which a password may be."""
    if not _URL.fullmatch(text):
        raise BadValue("it is not the URL of a PostgreSQL database", _EXPECTED)
    try:
        query = parse_qsl(urlsplit(text).query, keep_blank_values=True, strict_parsing=bool(urlsplit(text).query))
    except ValueError:
        raise BadValue("it is not the URL of a PostgreSQL database", _EXPECTED) from None
    if any("password" in name for name, _ in query):
        raise BadValue("a password stands behind the user's name", '"postgresql://USER:PASSWORD@HOST/DATABASE"')
    return text


class Database(Model):
    """A database whose triggers tell of every write, so that what was read of it is purged (database-caching.md)."""

    url: Annotated[str, AfterValidator(_database_url), Field(repr=False)]
    """PostgreSQL to listen to: `"postgresql://USER:PASSWORD@HOST:PORT/DATABASE"`; what is left out libpq fills in."""
