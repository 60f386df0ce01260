"""peek() reads server name and ALPN out of any valid ClientHello, waits for whole ones, and refuses everything else."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.tls_client_hello import MAX_BYTES, MAX_RECORDS, ClientHello, peek


def vector(content: bytes, width: int) -> bytes:
    return len(content).to_bytes(width, "big") + content


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(body, 2)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(b"\0" + vector(name, 2), 2))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(b"".join(vector(protocol, 1) for protocol in protocols), 2))


def message(
    *extensions: bytes, session_id: bytes = b"", suites: bytes = b"\x13\x01", compressions: bytes = b"\0"
) -> bytes:
    fixed = b"\x03\x03" + bytes(32) + vector(session_id, 1) + vector(suites, 2) + vector(compressions, 1)
    return b"\x01" + vector(fixed + (vector(b"".join(extensions), 2) if extensions else b""), 3)


def records(content: bytes, *sizes: int) -> bytes:
    out, start = b"", 0
    for size in (*sizes, len(content) - sum(sizes)):
        out += b"\x16\x03\x01" + vector(content[start : start + size], 2)
        start += size
    return out


def openssl_hello(name: str | None, protocols: list[str], version: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


GREASE = extension(0x0A0A, b"")
HELLO = message(GREASE, server_name(b"shop.example.com"), alpn(b"h2", b"http/1.1"), extension(0x0A1A, b"\0"))
FOUND = ClientHello("shop.example.com", (b"h2", b"http/1.1"))

labels = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
protocol_lists = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
others = st.lists(st.tuples(st.integers(17, 65535), st.binary(max_size=30)), max_size=8, unique_by=lambda pair: pair[0])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["shop.example.com", None])
@pytest.mark.parametrize("protocols", [["h2", "http/1.1"], []])
def test_a_hello_of_openssl_is_understood(version: ssl.TLSVersion, name: str | None, protocols: list[str]) -> None:
    hello = openssl_hello(name, protocols, version)
    assert peek(hello) == ClientHello(name, tuple(protocol.encode() for protocol in protocols))


@given(names, protocol_lists, others, st.binary(max_size=32), st.booleans())
def test_name_and_protocols_come_back_from_any_hello(
    name: str, protocols: list[bytes], extra: list[tuple[int, bytes]], session_id: bytes, name_last: bool
) -> None:
    extensions = [extension(kind, body) for kind, body in extra]
    extensions.insert(len(extensions) if name_last else 0, server_name(name.encode()))
    if protocols:
        extensions.insert(len(extensions) // 2, alpn(*protocols))
    assert peek(records(message(*extensions, session_id=session_id))) == ClientHello(name, tuple(protocols))


@given(st.lists(st.integers(1, 12), max_size=8))
def test_a_hello_split_over_records_is_joined(sizes: list[int]) -> None:
    assert peek(records(HELLO, *sizes)) == FOUND


@pytest.mark.parametrize("sizes", [(), (1,), (3, 1), (40, 2)])
def test_every_beginning_of_a_hello_asks_for_more(sizes: tuple[int, ...]) -> None:
    data = records(HELLO, *sizes)
    assert all(peek(data[:length]) is None for length in range(len(data)))


def test_bytes_in_later_records_are_left_alone() -> None:
    assert peek(records(HELLO) + b"\x14\x03\x03\x00\x01\x01") == FOUND


def test_a_hello_without_extensions_has_neither_name_nor_protocols() -> None:
    assert peek(records(message())) == ClientHello(None, ())


def test_names_come_back_in_lower_case_without_their_final_dot() -> None:
    hello = peek(records(message(server_name(b"Shop.EXAMPLE.com."))))
    assert hello is not None
    assert hello.server_name == "shop.example.com"


@pytest.mark.parametrize(
    "name",
    [b"", b"a b", b"a\0b", b"a/b", b".example.com", b"*.example.com", b"a" * 256, b"shop.example.com\n", b"\xc3\xa9"],
)
def test_a_name_that_is_no_host_name_is_refused(name: bytes) -> None:
    with pytest.raises(ProtocolError):
        peek(records(message(server_name(name))))


MALFORMED = {
    "plain HTTP": b"GET / HTTP/1.1\r\n",
    "one wrong byte": b"G",
    "SSL 2 hello": b"\x80\x2e\x01\x03\x01",
    "version of another major": b"\x16\x02",
    "alert record": b"\x15\x03\x01\x00\x02\x02\x28",
    "empty record": b"\x16\x03\x01\x00\x00",
    "other handshake message": b"\x16\x03\x01\x00\x04\x02\x00\x00\x10",
    "empty message": b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    "message too long": b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",
    "record too long": b"\x16\x03\x01\x40\x01",
    "bytes after the message": records(HELLO + b"\0"),
    "another record in between": records(HELLO[:9]) + b"\x17\x03\x01\x00\x01\x00",
    "session id too long": records(message(session_id=bytes(33))),
    "no cipher suites": records(message(suites=b"")),
    "odd cipher suites": records(message(suites=b"\x13\x01\x00")),
    "no compression method": records(message(compressions=b"")),
    "extension twice": records(message(server_name(b"a"), server_name(b"b"))),
    "unknown extension twice": records(message(GREASE, GREASE)),
    "extension beyond the end": records(message(b"\x00\x10\x00\x09\x00")),
    "extension header cut short": records(message(b"\x00\x10\x00")),
    "extensions length too small": records(b"\x01" + vector(message(GREASE)[4:] + b"\0", 3)),
    "two names": records(message(extension(0, vector(b"\0\0\1a" + b"\0\0\1b", 2)))),
    "name of another type": records(message(extension(0, vector(b"\1" + vector(b"a", 2), 2)))),
    "empty name list": records(message(extension(0, b""))),
    "empty protocol list": records(message(extension(16, b"\0\0"))),
    "empty protocol": records(message(alpn(b"h2", b""))),
    "protocol beyond the end": records(message(extension(16, vector(b"\x05h2", 2)))),
    "too many records": records(HELLO, *[1] * MAX_RECORDS),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_client_hello_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        peek(data)
    assert caught.value.status == 400


def test_a_hello_of_the_greatest_size_is_read_and_a_larger_one_refused_before_it_is_whole() -> None:
    room = MAX_BYTES - len(records(message(extension(21, b""))))
    assert peek(records(message(extension(21, bytes(room))))) == ClientHello(None, ())
    with pytest.raises(ProtocolError):
        peek(records(message(extension(21, bytes(room + 1))))[:9])


@given(st.data())
def test_damage_anywhere_raises_nothing_but_protocol_errors(data: st.DataObject) -> None:
    damaged = bytearray(records(HELLO))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        peek(bytes(damaged))


@given(st.binary(max_size=100))
def test_arbitrary_bytes_after_a_good_beginning_raise_nothing_else(tail: bytes) -> None:
    for kept in (5, 9, 43, 60):
        with suppress(ProtocolError):
            peek(records(HELLO)[:kept] + tail)
