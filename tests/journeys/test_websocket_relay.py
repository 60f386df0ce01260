"""WebSockets pass as they are: extensions are the two sides' own affair, and the Autobahn cases see no relay."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from support.autobahn import compare, worse
from support.raw_http import PATIENCE

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.2.*", "7.1.*", "7.5.*", "9.1.1", "9.2.1", "10.*", "12.1.1", "13.3.1")
"""One or more of every kind, the quick ones."""


@pytest.fixture
def compressing() -> Iterator[Server]:
    """Start an echo server that compresses and says for each connection what was negotiated."""

    def echo(websocket: ServerConnection) -> None:
        websocket.send(repr(websocket.protocol.extensions))
        for message in websocket:
            websocket.send(message)

    server: Server = serve(echo, "127.0.0.1", 0, max_size=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.mark.parametrize("takeover", [True, False], ids=["with context", "without context"])
def test_permessage_deflate_is_negotiated_and_compressed_frames_arrive_intact(
    edgewise_server, compressing: Server, takeover: bool
) -> None:
    port = compressing.socket.getsockname()[1]
    edgewise = edgewise_server(f'[upstreams.app]\nservers = ["127.0.0.1:{port}"]\n')
    offer = ClientPerMessageDeflateFactory(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover, client_max_window_bits=12
    )
    messages = ["a" * 200_000, "b" * 200_000, "a" * 200_000, b"\0" * 100_000, ""]
    with connect(f"ws://127.0.0.1:{edgewise.port}/", proxy=None, max_size=None, extensions=[offer]) as client:
        (extension,) = client.protocol.extensions
        assert isinstance(extension, PerMessageDeflate)
        servers = str(client.recv(PATIENCE))
        assert "PerMessageDeflate(" in servers
        assert f"remote_no_context_takeover={not takeover}" in servers
        for message in messages:
            client.send(message)
            assert client.recv(PATIENCE) == message
    line = edgewise.wait_access_log()[0]
    assert 100 < line["bytes_in"] < 10_000
    assert 100 < line["bytes_out"] < 10_000


def test_the_autobahn_cases_end_as_they_do_without_a_relay(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, logger="websockets"):
        direct, proxied = asyncio.run(compare(CASES))
    assert len(direct) >= 80
    assert worse(direct, proxied) == []
    # NON-STRICT is for what depends on when the peer looks, and may change from run to run.
    assert {case: outcome.words.replace("NON-STRICT", "OK") for case, outcome in proxied.items()} == {
        case: outcome.words.replace("NON-STRICT", "OK") for case, outcome in direct.items()
    }
