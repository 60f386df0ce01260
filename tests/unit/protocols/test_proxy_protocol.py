"""The PROXY protocol: what encode() writes decode() reads, and nothing else is taken for a header."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.proxy_protocol import MAX_V1, MAX_V2, ProxyHeader, decode, encode

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ports = st.integers(0, 65535)
ipv4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
ipv6 = st.tuples(st.ip_addresses(v=6).map(str).filter(lambda ip: not ip.startswith("::ffff:")), ports)
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=27)
pairs = st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6))


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


@given(st.sampled_from([1, 2]), pairs, st.binary(max_size=20))
def test_addresses_come_back_and_the_bytes_after_them_are_not_counted(
    version: int, pair: tuple[tuple[str, int], tuple[str, int]], rest: bytes
) -> None:
    header = encode(version, *pair)
    assert decode(header + rest) == (ProxyHeader(version, False, *pair), len(header))
    assert version == 2 or len(header) <= MAX_V1


@given(st.sampled_from([1, 2]), ipv4, ipv6)
def test_a_pair_of_mixed_families_is_written_as_ipv6_and_read_back(
    version: int, source: tuple[str, int], destination: tuple[str, int]
) -> None:
    assert decode(encode(version, source, destination)) == (
        ProxyHeader(version, False, source, destination),
        len(encode(version, source, destination)),
    )


@given(paths, paths)
def test_paths_of_unix_sockets_come_back_in_version_2(source: str, destination: str) -> None:
    found = decode(encode(2, source, destination))
    assert found == (ProxyHeader(2, False, source, destination), 16 + 216)


def test_version_1_cannot_say_a_unix_socket_and_says_unknown() -> None:
    assert encode(1, "/a", "/b") == b"PROXY UNKNOWN\r\n"


def test_a_source_without_a_destination_of_its_kind_is_unspecified() -> None:
    assert decode(encode(2, ("192.0.2.1", 5), "/run/app.sock")) == (ProxyHeader(2, False, None, None), 16)


@pytest.mark.parametrize(("version", "local"), [(1, False), (2, True)])
def test_without_a_source_the_proxy_speaks_for_itself(version: int, local: bool) -> None:
    header = encode(version, None, None)
    assert decode(header) == (ProxyHeader(version, local, None, None), len(header))


@pytest.mark.parametrize("version", [0, 3])
def test_other_versions_cannot_be_written(version: int) -> None:
    with pytest.raises(ValueError, match="version"):
        encode(version, ("192.0.2.1", 5), ("192.0.2.2", 80))


def test_a_path_that_does_not_fit_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="longer than 108"):
        encode(2, "/" + "a" * 108, "/b")


@given(st.sampled_from([1, 2]), pairs)
def test_every_beginning_of_a_header_asks_for_more(version: int, pair: tuple[tuple[str, int], tuple[str, int]]) -> None:
    header = encode(version, *pair)
    assert all(decode(header[:length]) is None for length in range(len(header)))


def test_ipv4_clients_of_dual_stack_sockets_come_back_as_ipv4() -> None:
    found = decode(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 5 80\r\n")
    assert found is not None
    assert (found[0].source, found[0].destination) == (("192.0.2.1", 5), ("192.0.2.2", 80))


@pytest.mark.parametrize(
    "line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", b"PROXY UNKNOWN junk\r\n"]
)
def test_unknown_lines_of_version_1_are_skipped_to_their_end(line: bytes) -> None:
    assert decode(line + b"GET") == (ProxyHeader(1, False, None, None), len(line))


@pytest.mark.parametrize("tail", [b"", b"\x04\x00\x02hi", b"\x01\x00\x02h2\x02\x00\x01a"])
def test_extra_values_of_version_2_are_skipped(tail: bytes) -> None:
    header = v2(0x21, 0x11, bytes((192, 0, 2, 1, 192, 0, 2, 2, 0, 5, 0, 80)) + tail)
    assert decode(header) == (ProxyHeader(2, False, ("192.0.2.1", 5), ("192.0.2.2", 80)), len(header))


@pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0x99])
def test_local_headers_say_nothing_of_addresses(family: int) -> None:
    header = v2(0x20, family, bytes(12))
    assert decode(header) == (ProxyHeader(2, True, None, None), len(header))


def test_the_addresses_of_an_unspecified_family_are_skipped() -> None:
    assert decode(v2(0x21, 0x00, bytes(7))) == (ProxyHeader(2, False, None, None), 23)


def test_abstract_unix_names_keep_their_first_byte() -> None:
    block = b"\0app".ljust(108, b"\0") + b"".ljust(108, b"\0")
    found = decode(v2(0x21, 0x31, block))
    assert found is not None
    assert (found[0].source, found[0].destination) == ("\0app", "")


MALFORMED = {
    "HTTP request": b"GET / HTTP/1.1\r\n",
    "TLS hello": b"\x16\x03\x01",
    "lower case": b"proxy TCP4",
    "bare LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\n",
    "bare CR": b"PROXY TCP4 192.0.2.1 192.0.2.2 5\r80\r\n",
    "LF in an unknown line": b"PROXY UNKNOWN a\nb\r\n",
    "family unknown": b"PROXY UDP4 192.0.2.1 192.0.2.2 5 80\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 5 80\r\n",
    "space at the end": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80 \r\n",
    "field missing": b"PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n",
    "port too great": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 65536\r\n",
    "port with a leading zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 05 80\r\n",
    "port with a sign": b"PROXY TCP4 192.0.2.1 192.0.2.2 +5 80\r\n",
    "port with an underscore": b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 80\r\n",
    "port of other digits": "PROXY TCP4 192.0.2.1 192.0.2.2 \u0665 80\r\n".encode(),
    "address with a leading zero": b"PROXY TCP4 192.0.2.01 192.0.2.2 5 80\r\n",
    "address too short": b"PROXY TCP4 192.0.2 192.0.2.2 5 80\r\n",
    "address of the other family": b"PROXY TCP4 ::1 ::1 5 80\r\n",
    "IPv4 in an IPv6 line": b"PROXY TCP6 192.0.2.1 192.0.2.2 5 80\r\n",
    "scoped address": b"PROXY TCP6 fe80::1%lo ::1 5 80\r\n",
    "host name": b"PROXY TCP4 localhost 192.0.2.2 5 80\r\n",
    "line too long": b"PROXY UNKNOWN " + b"a" * (MAX_V1 - 14),
    "version 1 in the binary header": v2(0x11, 0x11, bytes(12)),
    "version 3": v2(0x31, 0x11, bytes(12)),
    "unknown command": v2(0x22, 0x11, bytes(12)),
    "datagrams": v2(0x21, 0x12, bytes(12)),
    "unknown family": v2(0x21, 0x41, bytes(216)),
    "addresses cut short": v2(0x21, 0x11, bytes(11)),
    "IPv6 addresses cut short": v2(0x21, 0x21, bytes(35)),
    "header too long": v2(0x21, 0x11, bytes(MAX_V2 - 15)),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    assert caught.value.status == 400


def test_a_header_too_long_is_refused_before_its_content_is_there() -> None:
    with pytest.raises(ProtocolError):
        decode(SIGNATURE + b"\x21\x11\xff\xff")


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: SIGNATURE + tail)))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes) -> None:
    with suppress(ProtocolError):
        decode(data)
