"""The status page: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from edgewise.admin.control import CertificateStatus, Status, UpstreamStatus

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0 0 1.5rem; width: 100%; }
caption { font-weight: 600; padding: .5rem 0; text-align: left; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top; }
td.number, th.number { font-variant-numeric: tabular-nums; text-align: right; }
"""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    + "'"
)

_Cell = str | int | float


def render_page(
    status: Status, upstreams: Iterable[UpstreamStatus], certificates: Iterable[CertificateStatus] = ()
) -> str:
    """Return the whole page."""
    workers = [(each.index, each.pid, each.uptime, each.connections, each.requests) for each in status.workers]
    routes = [(route.name, route.target, route.requests) for route in status.routes]
    tables = [_upstream_table(upstream) for upstream in upstreams]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgewise</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>edgewise {escape(status.version)}</h1>
<p>{"Ready" if status.ready else "Not ready"}, configuration {status.generation}, up {_duration(status.uptime)}.
<a href="/metrics">Metrics</a>, <a href="/api/v1/status">status</a>, <a href="/api/v1/upstreams">upstreams</a>,
<a href="/api/v1/certificates">certificates</a>, <a href="/api/v1/config">configuration</a>.</p>
{"".join(tables)}
{_table("Workers", ("Worker", "PID", "Uptime", "Connections", "Requests"), workers)}
{_certificate_table(certificates)}
{_table("Routes", ("Route", "Answered by", "Requests"), routes)}
</main>
</body>
</html>
"""


def _upstream_table(upstream: UpstreamStatus) -> str:
    header = ("Server", "State", "Reason", "Active", "Connections", "Requests", "Failures", "Last check")
    rows = [
        (
            server.name,
            server.state,
            server.reason,
            server.active,
            server.connections,
            server.requests,
            server.failures,
            server.last_check or "",
        )
        for server in upstream.servers
    ]
    return _table(f"Upstream {upstream.name} ({upstream.balance})", header, rows)


def _certificate_table(certificates: Iterable[CertificateStatus]) -> str:
    header = ("Certificate", "For", "Valid until", "Next renewal", "Last error")
    rows = [
        (each.name, ", ".join(each.names), each.not_after or "none yet", each.next_renewal or "", each.last_error)
        for each in certificates
    ]
    return _table("Certificates", header, rows) if rows else ""


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[_Cell]]) -> str:
    numeric = [bool(rows) and not isinstance(cell, str) for cell in (rows[0] if rows else header)]
    head = "".join(
        f'<th scope="col"{_class(number)}>{escape(name)}</th>' for name, number in zip(header, numeric, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_class(not isinstance(cell, str))}>{_show(cell)}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return (
        f"<table><caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody></table>\n"
    )


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _show(cell: _Cell) -> str:
    if isinstance(cell, float):
        return _duration(cell)
    return escape(str(cell))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join([f"{amount} {unit}" for amount, unit in units if amount][:2]) or "0 s"
