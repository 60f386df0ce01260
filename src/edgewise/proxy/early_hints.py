"""Early hints (RFC 8297) of a route: what a page will need, told before the server has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


def send(exchange: Exchange) -> None:
    """Send the route's 103, where a browser navigates or may, and its version of HTTP lets it be sent.

    HTTP/1.1 knows interim answers, but some of its clients take the first for the last (RFC 8297 section 3).
    """
    route, request = exchange.route, exchange.plan.request
    if request.method != b"GET" or not (request.minor == 2 or (request.minor and route.early_hints_http1)):
        return
    if request.get(b"sec-fetch-mode") in (None, b"navigate"):
        exchange.client.send_interim(route.early_hints)
