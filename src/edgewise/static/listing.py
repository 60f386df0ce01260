"""A page that lists a directory: names and nothing else of them can become markup or lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from time import gmtime, strftime
from urllib.parse import quote, unquote_to_bytes

from edgewise.static.root import Entry

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2em }}
td {{ padding: 0.1em 1.5em 0.1em 0 }}
td + td {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
{rows}</table>
</body>
</html>
"""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
SECURITY_POLICY = b"default-src 'none'; style-src 'unsafe-inline'"
"""Content-Security-Policy of the page: it loads nothing and runs nothing."""


def page(path: bytes, entries: Iterable[Entry]) -> bytes:
    """Return the page for the directory at `path` (percent-encoded, as the client sees it), directories first."""
    listed = sorted(entries, key=lambda entry: (not entry.directory, entry.name.lower(), entry.name))
    up = [_row("../", "../", "", "")] if path.strip(b"/") else []
    rows = [*up, *map(_entry_row, listed)]
    title = escape(_text(unquote_to_bytes(path)))
    return _PAGE.format(title=title, rows="".join(rows)).encode()


def _entry_row(entry: Entry) -> str:
    slash = "/" if entry.directory else ""
    # With "./" no name can be taken for a scheme.
    link = "./" + quote(entry.name) + slash
    modified = strftime("%Y-%m-%d %H:%M", gmtime(max(0.0, entry.modified)))
    return _row(link, _text(entry.name) + slash, modified, "" if entry.directory else _size(entry.size))


def _row(link: str, name: str, modified: str, size: str) -> str:
    return f'<tr><td><a href="{escape(link)}">{escape(name)}</a></td><td>{modified}</td><td>{size}</td></tr>\n'


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1024 and unit + 1 < len(_UNITS):
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"
