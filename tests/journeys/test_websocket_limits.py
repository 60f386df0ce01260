"""WebSockets and layer 4 sessions that are ended by edgewise: by which limit, and what the two sides are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OriginConnection
from support.raw_http import PATIENCE, get

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GOING_AWAY = b"\x88\x02\x03\xe9"


class Echo:
    """A WebSocket server that sends messages back and remembers how each connection was closed."""

    def __init__(self) -> None:
        self.closed: list[int | None] = []
        self._server: Server = serve(self._serve, "127.0.0.1", 0, max_size=None)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = "{}:{}".format(*self._server.socket.getsockname()[:2])

    def _serve(self, websocket: ServerConnection) -> None:
        try:
            for message in websocket:
                websocket.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed.append(websocket.close_code)

    def stop(self) -> None:
        self._server.shutdown()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


def toml(address: str, *, server: str = "", route: str = "") -> str:
    return (
        f'[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "127.0.0.1:$ADMIN_PORT"\nworkers = 1\n{server}\n'
        f'[upstreams.app]\nservers = ["{address}"]\n[[routes]]\nname = "chat"\nupstream = "app"\n{route}\n'
    )


def websocket(edgewise: EdgewiseProcess, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{edgewise.port}/ws", proxy=None, **options)


def logged(edgewise: EdgewiseProcess) -> dict[str, Any]:
    return edgewise.wait_access_log()[0]


def code_at_end(client: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        client.recv(PATIENCE)
    return client.close_code


@pytest.mark.parametrize(
    ("server", "route", "end"),
    [
        ('tunnel_timeout = "500ms"', "", "edge-timeout"),
        ("", 'timeouts = { tunnel = "500ms" }', "edge-timeout"),
        ('tunnel_lifetime = "500ms"', "", "edge-lifetime"),
        ("", 'timeouts = { tunnel_lifetime = "500ms" }', "edge-lifetime"),
        ('tunnel_timeout = "1ms"', 'timeouts = { tunnel = "1h", tunnel_lifetime = "500ms" }', "edge-lifetime"),
    ],
    ids=["idle, server", "idle, route", "lifetime, server", "lifetime, route", "the route's over the server's"],
)
def test_both_sides_are_told_that_a_limit_ends_the_websocket(
    edgewise_server, echo: Echo, server: str, route: str, end: str
) -> None:
    edgewise = edgewise_server(toml(echo.address, server=server, route=route))
    with websocket(edgewise) as client:
        assert code_at_end(client) == 1001
    assert wait_until(lambda: echo.closed, "the server has seen the end") == [1001]
    line = logged(edgewise)
    assert (line["status"], line["end"]) == (101, end)
    assert line["failure"]


def test_messages_keep_a_websocket_from_being_idle(edgewise_server, echo: Echo) -> None:
    edgewise = edgewise_server(toml(echo.address, route='timeouts = { tunnel = "1s" }'))
    with websocket(edgewise) as client:
        for _ in range(10):
            threading.Event().wait(0.2)
            client.send("x")
            assert client.recv(PATIENCE) == "x"
        assert code_at_end(client) == 1001
    assert logged(edgewise)["t"]["total"] > 2900


def test_a_route_may_lift_the_servers_lifetime(edgewise_server, echo: Echo) -> None:
    edgewise = edgewise_server(
        toml(echo.address, server='tunnel_lifetime = "1ms"', route='timeouts = { tunnel_lifetime = "0s" }')
    )
    with websocket(edgewise) as client:
        threading.Event().wait(0.8)
        client.send("still here")
        assert client.recv(PATIENCE) == "still here"


def test_a_side_in_the_middle_of_a_frame_is_not_told(edgewise_server, origin) -> None:
    """The server's frame goes on to its end, behind which nothing of edgewise's stands."""
    whole = Frame(Opcode.BINARY, b"m" * 1000).serialize(mask=False)

    def half(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING + whole[:500])
        goodbye.append(connection.reader.exactly(8))
        connection.send(whole[500:])

    goodbye: list[bytes] = []
    edgewise = edgewise_server(toml(origin(half).address, route='timeouts = { tunnel_lifetime = "500ms" }'))
    with edgewise.client() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        assert client.reader.exactly(len(whole)) == whole
        assert client.is_closed()
    key = goodbye[0][2:6]
    assert goodbye[0][:2] == b"\x88\x82"
    assert bytes(byte ^ mask for byte, mask in zip(goodbye[0][6:], key, strict=False)) == b"\x03\xe9"
    assert logged(edgewise)["end"] == "edge-lifetime"


def test_a_peer_that_does_not_answer_the_close_frame_is_not_waited_for_long(edgewise_server, origin) -> None:
    def mute(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING)
        connection.reader.to_end()

    edgewise = edgewise_server(toml(origin(mute).address, route='timeouts = { tunnel_lifetime = "300ms" }'))
    with edgewise.client() as client:
        assert client.ask(get("/", "a", *UPGRADE)).status == 101
        client.send(b"\x81\x80abcd")
        assert client.reader.exactly(4) == GOING_AWAY
        client.send(b"\x81\x80abcd" * 10)
        assert client.is_closed()


def test_sockets_are_told_before_a_stopping_worker_cuts_them(edgewise_server, echo: Echo) -> None:
    edgewise = edgewise_server(toml(echo.address, server='drain_timeout = "2s"'))
    with websocket(edgewise) as client:
        client.send("x")
        assert client.recv(PATIENCE) == "x"
        stopping = threading.Thread(target=edgewise.stop)
        stopping.start()
        assert code_at_end(client) == 1001
        stopping.join(PATIENCE)
    assert echo.closed == [1001]
    assert edgewise.access_log[0]["end"] == "edge-drain"


def test_an_upgrade_to_another_protocol_gets_no_websocket_frame(edgewise_server, origin) -> None:
    def other(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(SWITCHING.replace(b"websocket", b"chat/1"))
        left.append(connection.reader.to_end())

    left: list[bytes] = []
    edgewise = edgewise_server(toml(origin(other).address, route='timeouts = { tunnel_lifetime = "300ms" }'))
    with edgewise.client() as client:
        assert client.ask(get("/", "a", "Connection: Upgrade", "Upgrade: chat/1")).status == 101
        assert client.reader.to_end() == b""
    assert wait_until(lambda: left, "the server saw the end") == [b""]


@pytest.mark.parametrize(
    ("server", "route", "end"),
    [
        ('tunnel_timeout = "500ms"', "", "edge-timeout"),
        ("", 'timeouts = { tunnel = "500ms" }', "edge-timeout"),
        ("", 'timeouts = { tunnel_lifetime = "500ms" }', "edge-lifetime"),
    ],
    ids=["idle, server", "idle, route", "lifetime, route"],
)
def test_layer_4_sessions_have_the_same_limits(edgewise_server, origin, server: str, route: str, end: str) -> None:
    def greet(connection: OriginConnection) -> None:
        connection.send(b"220 hello\r\n")
        connection.reader.to_end()

    edgewise = edgewise_server(
        f'[server]\nlisten = []\nadmin = "off"\nworkers = 1\n{server}\n'
        f'[upstreams.app]\nservers = ["{origin(greet).address}"]\n'
        f'[[tcp]]\nlisten = "127.0.0.1:$PORT"\nupstream = "app"\n{route}\n'
    )
    with edgewise.client() as client:
        assert client.reader.to_end() == b"220 hello\r\n"
    wait_until(lambda: end in [line["end"] for line in edgewise.access_log], f"the log says {end}")


class TestBytes:
    def test_an_open_websocket_shows_in_the_metrics_and_a_closed_one_is_not_counted_twice(
        self, edgewise_server, echo: Echo
    ) -> None:
        edgewise = edgewise_server(toml(echo.address))
        with websocket(edgewise, compression=None) as client:
            client.send(b"x" * 1000)
            client.recv(PATIENCE)
            wait_until(lambda: figure(edgewise, "edgewise_tunnels") == 1, "the open tunnel is counted")
            wait_until(lambda: figure(edgewise, "edgewise_request_body_bytes_total") == 1008, "its bytes are counted")
            out = figure(edgewise, "edgewise_response_bytes_total")
            assert out > 1004
            client.send(b"y" * 100)
            client.recv(PATIENCE)
            wait_until(lambda: figure(edgewise, "edgewise_response_bytes_total") == out + 102, "bytes go on to count")
        line = logged(edgewise)
        wait_until(lambda: figure(edgewise, "edgewise_tunnels") == 0, "the closed tunnel is not counted any more")
        close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        assert line["bytes_in"] == 1008 + 106 + len(close)
        assert figure(edgewise, "edgewise_request_body_bytes_total") == line["bytes_in"]
        assert figure(edgewise, "edgewise_response_bytes_total") == line["bytes_out"]


def figure(edgewise: EdgewiseProcess, name: str) -> int:
    """Return a metric of the route `chat`."""
    start = f'{name}{{http_route="chat"}} '
    lines = edgewise.admin("/metrics").decode().splitlines()
    return int(next(line for line in lines if line.startswith(start)).removeprefix(start))
