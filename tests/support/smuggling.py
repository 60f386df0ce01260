"""The table of requests on which two HTTP implementations could disagree, and what becomes of each.

A refused request must get its status, lose its connection, and never reach the origin as a whole request; a repaired
one reaches the origin as exactly the given bytes (without the fields edgewise itself adds).
"""

from __future__ import annotations

from dataclasses import dataclass

from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.raw_http import RawClient

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"
"""Follows every request that must be refused; the origin must never see it."""
OWN_FIELDS = (b"x-request-id:", b"traceparent:", b"x-forwarded-", b"x-real-ip:", b"via:", b"forwarded:")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
"""The table's origin closes after each answer, so that each of its connections holds one request."""

TOML = """
[upstreams.app]
servers = ["{origin}"]

[[routes]]
upstream = "app"

[[routes]]
path = "/admin/*"
respond = {{ status = 403, body = "no" }}
"""


@dataclass(frozen=True)
class Case:
    """One request. `statuses` are the answers allowed; `forwarded` is what the origin receives, None for nothing.

    `refuse`: it must end the connection, and the origin may not receive a whole request.
    """

    family: str
    name: str
    request: bytes
    statuses: tuple[int, ...]
    forwarded: bytes | None = None
    refuse: bool = False

    @property
    def id(self) -> str:
        """Name of the test."""
        return f"{self.family}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """What happened: the status, whether the connection was closed after it, the bytes the origin received."""

    status: int
    closed: bool
    received: list[bytes]


def refused(family: str, name: str, request: bytes, *statuses: int) -> Case:
    """Return a case that must be refused (400 where nothing else is said)."""
    return Case(family, name, request, statuses or (400,), refuse=True)


def line(text: bytes) -> bytes:
    """Return a GET with one more field line."""
    return b"GET / HTTP/1.1\r\nHost: example.com\r\n" + text + b"\r\n\r\n"


def sent(fields: bytes, body: bytes) -> bytes:
    """Return a POST with `fields` (without the last CRLF) and `body`."""
    return b"POST / HTTP/1.1\r\nHost: example.com\r\n" + fields + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    """Return a chunked POST with `body` as framed."""
    return sent(b"Transfer-Encoding: chunked", body)


def target(text: bytes) -> bytes:
    """Return a GET of `text`."""
    return b"GET " + text + b" HTTP/1.1\r\nHost: example.com\r\n\r\n"


def got(text: bytes) -> bytes:
    """Return what the origin receives for a GET of `text`."""
    return target(text)


_TWO = "Content-Length with Transfer-Encoding"
_CODING = "Transfer-Encoding other than one chunked"
_LENGTH = "Content-Length"
_CHUNK = "chunked content"
_FIELD = "field lines"
_HOST = "Host and authority"
_TARGET = "request target"
_LINE = "request line"
_CONNECTION = "Connection and Upgrade"
_EXPECT = "Expect"

LENGTH_VALUES = {
    "plus sign": b"+5", "minus sign": b"-5", "underscore": b"1_0", "hexadecimal": b"0x5", "decimal point": b"5.0",
    "empty": b"", "two numbers": b"5 5", "list of equal": b"5, 5", "19 digits": b"0000000000000000005",
    "Arabic digit": b"\xd9\xa5", "superscript": b"\xb2", "vertical tab": b"\x0b5", "exponent": b"1e1",
}  # fmt: skip
CODINGS = {
    "unknown coding": b"xchunked", "gzip before chunked": b"gzip, chunked", "chunked twice": b"chunked, chunked",
    "identity": b"identity", "chunked then identity": b"chunked, identity", "parameter": b"chunked;q=1",
    "vertical tab": b"\x0bchunked", "quoted": b'"chunked"', "empty": b"", "leading comma": b", chunked",
    "trailing comma": b"chunked,", "line feed inside": b"chun\nked",
}  # fmt: skip
CHUNKS = {
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n", "size with plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"0_5\r\nhello\r\n0\r\n\r\n", "size after a space": b" 5\r\nhello\r\n0\r\n\r\n",
    "size before a space": b"5 \r\nhello\r\n0\r\n\r\n", "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n", "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "size line ended by a bare LF": b"5\nhello\r\n0\r\n\r\n", "CR inside an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "LF inside an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n", "NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "extension without end": b"5;" + b"a" * 70000 + b"\r\nhello\r\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhelloXX0\r\n\r\n", "data ended by a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "last chunk ended by a bare LF": b"5\r\nhello\r\n0\n\n", "folded trailer": b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
    "trailer without a colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
}  # fmt: skip
FIELDS = {
    "folded": b"A: b\r\n c", "folded before any": b" A: b", "space before the colon": b"Content-Length : 5",
    "tab before the colon": b"Transfer-Encoding\t: chunked", "bare CR": b"A: b\rContent-Length: 5",
    "bare LF": b"A: b\nContent-Length: 5", "NUL in a value": b"A: b\0c", "NUL in a name": b"A\0: b",
    "empty name": b": b", "no colon": b"nonsense", "space in a name": b"A B: c", "slash in a name": b"A/B: c",
    "byte over 127 in a name": b"\xe9: c", "vertical tab in a value": b"A: b\x0bc", "DEL in a value": b"A: \x7f",
    "too many": b"\r\n".join(b"A%d: b" % number for number in range(400)), "too large": b"A: " + b"b" * 70000,
}  # fmt: skip
HOSTS = {
    "userinfo": b"user@example.com", "port zero": b"example.com:0", "port over 65535": b"example.com:65536",
    "port with a sign": b"example.com:+80", "port with letters": b"example.com:80a", "empty port": b"example.com:",
    "two in a list": b"example.com, evil.com", "space inside": b"example.com evil.com", "path inside": b"example.com/x",
    "empty": b"", "open bracket": b"[::1", "backslash": b"example.com\\x", "percent": b"example%2ecom",
}  # fmt: skip
TARGETS = {
    "encoded slash": b"/a%2fb", "encoded backslash": b"/a%5cb", "encoded NUL": b"/a%00b", "backslash": b"/a\\b",
    "fragment": b"/a#b", "broken escape": b"/a%zz", "escape cut short": b"/a%2", "byte over 127": b"/\xc3\xa9",
    "no slash": b"a", "other scheme": b"ftp://example.com/", "asterisk with GET": b"*", "NUL": b"/a\0b",
}  # fmt: skip
LINES = {
    "two spaces": b"GET  / HTTP/1.1", "tab": b"GET\t/ HTTP/1.1", "space in the target": b"GET /a b HTTP/1.1",
    "leading space": b" GET / HTTP/1.1", "trailing space": b"GET / HTTP/1.1 ", "no version": b"GET /",
    "lower-case version": b"GET / http/1.1", "long minor version": b"GET / HTTP/1.10",
    "bracket in the method": b"G[T / HTTP/1.1",
    "major version 2": b"GET / HTTP/2.0", "no method": b"/ HTTP/1.1", "bare CR": b"GET / HTTP/1.1\rA: b",
}  # fmt: skip

REFUSED = [
    refused(_TWO, "length first", sent(b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"0\r\n\r\nX")),
    refused(_TWO, "coding first", sent(b"Transfer-Encoding: chunked\r\nContent-Length: 6", b"0\r\n\r\nX")),
    refused(_TWO, "spelled in capitals", sent(b"CONTENT-LENGTH: 6\r\nTRANSFER-ENCODING: CHUNKED", b"0\r\n\r\nX")),
    *(refused(_CODING, n, sent(b"Transfer-Encoding: " + v, b"0\r\n\r\n"), 400, 501) for n, v in CODINGS.items()),
    refused(_CODING, "two fields", sent(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    refused(_CODING, "HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused(_LENGTH, "twice and equal", sent(b"Content-Length: 5\r\nContent-Length: 5", b"hello")),
    refused(_LENGTH, "twice and different", sent(b"Content-Length: 5\r\nContent-Length: 0", b"hello")),
    *(refused(_LENGTH, name, sent(b"Content-Length: " + value, b"hello")) for name, value in LENGTH_VALUES.items()),
    *(refused(_CHUNK, name, chunked(body), 400, 431) for name, body in CHUNKS.items()),
    *(refused(_FIELD, name, line(text), 400, 431) for name, text in FIELDS.items()),
    refused(_FIELD, "lines ended by bare LF", b"GET / HTTP/1.1\nHost: example.com\n\nX: y\r\n\r\n"),
    refused(_FIELD, "space line before the first", b"GET / HTTP/1.1\r\n \r\nHost: example.com\r\n\r\n"),
    *(refused(_HOST, n, b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n") for n, value in HOSTS.items()),
    refused(_HOST, "none", b"GET / HTTP/1.1\r\nA: b\r\n\r\n"),
    refused(_HOST, "two", line(b"Host: evil.com")),
    refused(_HOST, "two and equal", line(b"Host: example.com")),
    refused(_HOST, "against the absolute-form target", target(b"http://evil.com/")),
    refused(_HOST, "userinfo in the target", target(b"http://user@example.com/")),
    refused(_HOST, "another port in the target", target(b"http://example.com:81/")),
    *(refused(_TARGET, name, target(text)) for name, text in TARGETS.items()),
    refused(_TARGET, "too long", target(b"/" + b"a" * 70000), 400, 414, 431),
    *(refused(_LINE, name, text + b"\r\nHost: example.com\r\n\r\n", 400, 505) for name, text in LINES.items()),
    refused(_LINE, "CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 405),
    refused(_EXPECT, "something else", sent(b"Expect: 200-ok\r\nContent-Length: 5", b"hello"), 417),
    refused(_EXPECT, "two", sent(b"Expect: 100-continue, x\r\nContent-Length: 5", b"hello"), 417),
    refused(_CONNECTION, "not a list of tokens", line(b"Connection: close\x0b"), 400),
]  # fmt: skip

HELLO = b"5\r\nhello\r\n0\r\n\r\n"
REPAIRED = [
    Case(_LENGTH, "zeros in front are dropped", sent(b"Content-Length: 005", b"hello"), (200,),
         sent(b"Content-Length: 5", b"hello")),
    Case(_LENGTH, "GET with content keeps its framing", line(b"Content-Length: 5") + b"hello", (200,),
         line(b"Content-Length: 5") + b"hello"),
    Case(_CHUNK, "extensions are dropped", chunked(b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n'), (200,), chunked(HELLO)),
    Case(_CHUNK, "sizes are written anew", chunked(b"0000000000000005\r\nhello\r\n000\r\n\r\n"), (200,),
         chunked(HELLO)),
    Case(_CHUNK, "trailers that frame or route are dropped",
         chunked(b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: evil.com\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"), (200,),
         chunked(HELLO)),
    Case(_CODING, "capitals are one chunked token", sent(b"Transfer-Encoding: CHUNKED", HELLO), (200,), chunked(HELLO)),
    Case(_FIELD, "white space around a value is dropped", line(b"A:  \tb \t"), (200,), line(b"A: b")),
    Case(_FIELD, "names with an underscore are dropped", line(b"X_Forwarded_For: 1.2.3.4\r\nContent_Length: 5"), (200,),
         got(b"/")),
    Case(_FIELD, "Proxy is dropped (httpoxy)", line(b"Proxy: http://evil.com"), (200,), got(b"/")),
    Case(_HOST, "absolute-form becomes origin-form", target(b"http://example.com/a?b"), (200,), got(b"/a?b")),
    Case(_TARGET, "dot segments are removed", target(b"/a/../b/./c"), (200,), got(b"/b/c")),
    Case(_TARGET, "encoded dot segments are removed", target(b"/a/%2e%2E/b"), (200,), got(b"/b")),
    Case(_TARGET, "unreserved characters are decoded", target(b"/%61%7eb%c3%a9"), (200,), got(b"/a~b%C3%A9")),
    Case(_TARGET, "what is matched is what is forwarded", target(b"/x/../%61dmin/secret"), (403,)),
    Case(_TARGET, "empty segments stay", target(b"//a//b"), (200,), got(b"//a//b")),
    Case(_LINE, "an empty line in front is skipped", b"\r\n" + got(b"/"), (200,), got(b"/")),
    Case(_CONNECTION, "fields it names are dropped", line(b"Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-End: 2"),
         (200,), line(b"X-End: 2")),
    Case(_CONNECTION, "it cannot strip framing or identity",
         sent(b"Connection: content-length, host, authorization\r\nAuthorization: a\r\nContent-Length: 5", b"hello"),
         (200,), sent(b"Authorization: a\r\nContent-Length: 5", b"hello")),
    Case(_CONNECTION, "hop-by-hop fields end here",
         line(b"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\nA: b"), (200,),
         line(b"A: b")),
    Case(_CONNECTION, "h2c is never offered",
         line(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"), (200,),
         got(b"/")),
    Case(_CONNECTION, "Upgrade without the option is not forwarded", line(b"Upgrade: websocket"), (200,), got(b"/")),
]  # fmt: skip

CASES = REFUSED + REPAIRED


def without_own_fields(message: bytes) -> bytes:
    """Return a received request without the fields edgewise adds, framing moved behind the other fields."""
    head, mark, body = message.partition(b"\r\n\r\n")
    lines = [part for part in head.split(b"\r\n") if not part.lower().startswith(OWN_FIELDS)]
    return b"\r\n".join(lines) + mark + body


def run_case(edgewise: EdgewiseProcess, origin: Origin, case: Case) -> Outcome:
    """Send a case on a connection of its own and gather what came of it."""
    before = len(origin.connections)
    with edgewise.client() as client:
        client.send(case.request + (SMUGGLED if case.refuse else b""))
        status = client.read().status
        closed = case.refuse and client.is_closed()
    # An answer for a later request: whatever the case sent to the origin has arrived by then.
    with RawClient(("127.0.0.1", edgewise.port)) as sentinel:
        assert sentinel.ask(got(b"/sentinel")).status == 200
    received = [connection.received for connection in origin.connections[before:]]
    return Outcome(status, closed, [data for data in received if data and not data.startswith(b"GET /sentinel")])


def whole_request(data: bytes) -> bool:
    """Would an origin take `data` for a whole request (its content included)?"""
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return False
    return b"0\r\n\r\n" in body if b"transfer-encoding: chunked" in head.lower() else True
