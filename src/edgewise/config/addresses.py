"""Addresses of listeners and servers: "host:port", "[v6]:port", ":port", "unix:/path"."""

from __future__ import annotations

import ipaddress
import re

from edgewise.config.problems import BadValue, show

EXPECTED = '"host:port", "[IPv6]:port", ":port" or "unix:/path"'
LISTEN_HOST = "0.0.0.0"
"""Host of a listener written ":80"."""
SERVER_HOST = "127.0.0.1"
"""Host of a server written ":8000"."""

_PORT = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_NUMERIC = re.compile(r"[0-9.]+")
_UNIX_BYTES = 107


def parse_address(text: str, default_host: str) -> tuple[str, int] | str:
    """Return (host, port 0..65535) or the path of a Unix socket; `default_host` stands in for the host of ":port".

    IPv6 hosts come back without brackets. Raises BadValue.
    """
    if text.startswith("unix:"):
        return _unix_path(text)
    host, colon, port = text.rpartition(":")
    if "://" in text:
        rest = text.split("://", 1)[1].rstrip("/")
        raise BadValue(f"{show(text)} is a URL, not an address", EXPECTED, _if_valid(rest))
    if not colon or not _PORT.fullmatch(port):
        close = f"{text}:80" if not colon and _is_host(text) else ""
        raise BadValue(f"{show(text)} has no valid port", EXPECTED, close)
    if int(port) > 65535:
        raise BadValue(f"port {port} is out of range", "a port from 1 to 65535")
    return _host(host, text) if host else default_host, int(port)


def check_listen(text: str) -> str:
    """Return the address of a listener; port 0 lets the system choose. Raises BadValue."""
    parse_address(text, LISTEN_HOST)
    return text


def check_server(text: str) -> str:
    """Return the address of a server to connect to. Raises BadValue."""
    address = parse_address(text, SERVER_HOST)
    if not isinstance(address, str) and address[1] == 0:
        raise BadValue("port 0 is out of range", "a port from 1 to 65535")
    return text


def _unix_path(text: str) -> str:
    path = text[5:]
    if not path or "\0" in path:
        raise BadValue(f"{show(text)} names no socket", '"unix:/path"')
    if len(path.encode()) > _UNIX_BYTES:
        raise BadValue(f"the path of the socket has {len(path.encode())} bytes", f"at most {_UNIX_BYTES}")
    return path


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise BadValue(f"{show(host)} is not an IPv6 address", EXPECTED) from None
        return host[1:-1]
    if ":" in host:
        close = f"[{host}]{text[len(host) :]}"
        raise BadValue(f"{show(text)} needs brackets around an IPv6 address", EXPECTED, _if_valid(close))
    if not _is_host(host):
        raise BadValue(f"{show(host)} is not a host name or IP address", EXPECTED)
    return host


def _if_valid(text: str) -> str:
    """Return an address as a suggestion where it is valid, else ""."""
    try:
        parse_address(text, SERVER_HOST)
    except BadValue:
        return ""
    return text


def _is_host(host: str) -> bool:
    if not _NUMERIC.fullmatch(host):
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
