"""Tags of what is read of a database: what carries them is purged when it is written."""

from __future__ import annotations

import datetime
import re
import uuid
from hashlib import sha256

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
Part = str | int | uuid.UUID | datetime.date
"""A column of a key. Triggers tell rows by keys of these types alone (`contrib.postgres`)."""


def table_tag(table: str) -> str:
    """Return the tag of a set of rows: of every read that is not by primary key. Each write purges it."""
    return _part(table)


def row_tag(table: str, *key: Part) -> str:
    """Return the tag of one row, by its primary key: the columns in their order there."""
    return ":".join([_part(table), *map(_part, key)])


def rows_tag(table: str) -> str:
    """Return the tag of any row, which a row that is read carries beside its own: a write that cannot tell which rows
    it changed purges it."""
    return f"{_part(table)}:*"


def _part(value: Part) -> str:
    """Return a text that is fit for a tag, the same that the triggers make."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else f"~{sha256(text.encode()).hexdigest()[:32]}"
