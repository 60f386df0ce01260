"""The table that says from which addresses requests may come, and the files of networks that it names."""

from __future__ import annotations

import ipaddress
from pathlib import Path as FilePath

from pydantic import Field

from edgewise.config.problems import BadValue
from edgewise.config.types import FileName, Model, Network
from edgewise.config.values import parse_network

_MOST_BYTES = 64 << 20


class Ip(Model):
    """Addresses that requests may come from; whoever comes from another one gets 403.

    Of the networks that an address is in, the smallest one decides; where it is in both lists, it is denied. An address
    in none of them is let in where there is nothing to allow, and denied else.
    """

    allow: list[Network] = Field(default=[])
    """Networks to let in, such as "10.0.0.0/8", and single addresses."""
    deny: list[Network] = Field(default=[])
    """Networks to deny."""
    allow_files: list[FileName] = Field(default=[])
    """Files of more of them, one network a line, comments behind #; read at start and at each reload."""
    deny_files: list[FileName] = Field(default=[])
    """The same of networks to deny."""
    unix: bool = False
    """Let in who comes by a Unix socket and so has no address; without it, as one who is in no network."""


def read_networks(file: str) -> list[str]:
    """Return the networks that a file lists, in the form of `parse_network`. Raises OSError, BadValue with the line."""
    path = FilePath(file)
    if path.stat().st_size > _MOST_BYTES:
        raise BadValue(f"{file} has more than {_MOST_BYTES >> 20} MiB", "a list of networks")
    found = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip(" \t\r\n")
            if not text:
                continue
            try:
                found.append(parse_network(text))
            except BadValue as error:
                raise BadValue(f"{file}:{number}: {error.message}", error.expected, error.nearest) from None
    return found


def plain_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network; one of IPv4 addresses written as IPv6 ones (RFC 4291 section 2.5.5.2) is one of IPv4."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
