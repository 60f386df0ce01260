"""The status of a running edgewise as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MIB = 1_048_576
_RESULTS = ("hit", "stale", "miss", "revalidated", "collapsed", "bypass", "unsatisfied")


def status_text(
    status: dict[str, Any], upstreams: Sequence[dict[str, Any]], certificates: Sequence[dict[str, Any]] = ()
) -> str:
    """Return status, upstreams and certificates (the admin API's JSON) as text for a terminal."""
    ready = "ready" if status["ready"] else "not ready"
    parts = [
        f"edgewise {status['version']}, generation {status['generation']}, {ready}, up {duration(status['uptime'])}",
        table(
            ("WORKER", "PID", "UP", "CONNECTIONS", "REQUESTS"),
            [
                (
                    worker["index"],
                    worker["pid"] or "-",
                    duration(worker["uptime"]),
                    worker["connections"],
                    worker["requests"],
                )
                for worker in status["workers"]
            ],
        ),
        table(
            ("ROUTE", "TO", "REQUESTS"),
            [(route["name"], route["target"], route["requests"]) for route in status["routes"]],
        ),
    ]
    parts.append(cache_text(status))
    parts += [upstream_text(upstream) for upstream in upstreams]
    parts.append(certificates_text(certificates))
    return "\n\n".join(part for part in parts if part)


def cache_text(status: dict[str, Any]) -> str:
    """Return what is stored, and by route what the cache did; "" where there is nothing to tell."""
    routes = [route for route in status["routes"] if route.get("cache")]
    disk = disk_text(status.get("cache_disk"))
    if not routes:
        return disk
    objects = sum(worker["cache_objects"] for worker in status["workers"])
    size = sum(worker["cache_bytes"] for worker in status["workers"])
    rows = [(route["name"], *(route["cache"].get(result, 0) for result in _RESULTS)) for route in routes]
    columns = ("ROUTE", *(result.upper() for result in _RESULTS))
    lines = [f"cache: {objects} answers, {size / _MIB:.1f} MiB", disk, table(columns, rows)]
    return "\n".join(line for line in lines if line)


def disk_text(disk: dict[str, Any] | None) -> str:
    """Return what is stored on disk; "" where nothing is to be."""
    if disk is None:
        return ""
    size, most, written = (disk[name] / _MIB for name in ("bytes", "most", "written"))
    return (
        f"cache on disk: {disk['objects']} answers, {size:.1f} of {most:.1f} MiB, {written:.1f} MiB written, "
        f"{disk['evictions']} evicted"
    )


def upstream_text(upstream: dict[str, Any]) -> str:
    """Return one upstream and its servers as text."""
    rows = [
        (
            server["name"] + (" (backup)" if server["backup"] else ""),
            server["state"],
            server["active"],
            server["waiting"],
            server["requests"],
            server["failures"],
            server["reason"],
        )
        for server in upstream["servers"]
    ]
    head = f"upstream {upstream['name']} ({upstream['balance']})"
    columns = ("SERVER", "STATE", "ACTIVE", "WAITING", "REQUESTS", "FAILURES", "")
    return "\n".join([head, table(columns, rows) or "(no servers)", *moved_text(upstream["servers"])])


def moved_text(servers: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line that says how many sessions left their server for which reason; none where none did."""
    counts: dict[str, int] = {}
    for server in servers:
        for reason, count in server.get("moved", {}).items():
            counts[reason] = counts.get(reason, 0) + count
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return [f"sessions moved: {told}"] if told else []


def certificates_text(certificates: Sequence[dict[str, Any]]) -> str:
    """Return certificates as text; "" for none."""
    rows = [
        (
            each["name"],
            ", ".join(each["names"]) if each["names"] != [each["name"]] else "",
            each["not_after"] or "none yet",
            each["next_renewal"] or "-",
            each["last_error"],
        )
        for each in certificates
    ]
    return table(("CERTIFICATE", "FOR", "VALID UNTIL", "NEXT RENEWAL", ""), rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under their columns, text to the left and numbers to the right; "" without rows."""
    if not rows:
        return ""
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    numeric = [all(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def duration(seconds: float) -> str:
    """Return seconds in the two largest units: 42s, 3m 5s, 2h 10m, 4d 1h."""
    whole = int(seconds)
    for unit, size, next_unit, next_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // next_size}{next_unit}"
    return f"{whole}s"
