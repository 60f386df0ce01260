"""IP addresses as text: what tells one client from another."""

from __future__ import annotations


def client_network(ip: str) -> str:
    """Return the address; of IPv6 the first four groups, written out: one host may use many addresses of its /64."""
    return _network64(ip) if ":" in ip and "." not in ip else ip


def _network64(ip: str) -> str:
    head, gap, tail = ip.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    if gap:
        after = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(after)) + after
    return ":".join(group.lstrip("0").lower() or "0" for group in groups[:4])
