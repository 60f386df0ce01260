"""gRPC calls of every kind, with real clients and servers: directly, and the same through edgewise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, wait_until
from support.grpc_client import GrpcClient
from support.grpc_server import SERVICE, GrpcServer

WAYS = ["direct", "h2c", "tls", "tls upstream"]
MEBIBYTE = 1 << 20
TOML = f"""
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[tls]
certificates = [{{ cert = "D/edge.pem", key = "D/edge.key" }}]
[upstreams.plain]
servers = ["PLAIN"]
protocol = "h2c"
[upstreams.secure]
servers = ["SECURE"]
protocol = "h2"
tls = {{ ca = "D/authority.pem", server_name = "grpc.test" }}
[[routes]]
name = "everything"
upstream = "plain"
[[routes]]
name = "secure"
host = "secure.test"
upstream = "secure"
[[routes]]
name = "unary"
path = "/{SERVICE}/Unary"
method = "POST"
upstream = "plain"
"""


class Site:
    """A standing edgewise with a plain and a TLS gRPC server behind it."""

    def __init__(self, directory: Path) -> None:
        authority = DevelopmentAuthority()
        authority.write(directory)
        self.roots = authority.certificate
        authority.issue(["edge.test"]).write(directory, "edge")
        pair = authority.issue(["grpc.test"])
        self.plain = GrpcServer()
        self.secure = GrpcServer(key_and_chain=(pair.key, pair.certificate))
        self._text = TOML.replace("PLAIN", self.plain.address).replace("SECURE", self.secure.address)
        self._directory = directory
        self._edgewise: EdgewiseProcess | None = None

    @property
    def edgewise(self) -> EdgewiseProcess:
        """The edge, started where a test first needs it."""
        if self._edgewise is None:
            place = self._directory / "edgewise"
            place.mkdir()
            self._edgewise = EdgewiseProcess(self._text.replace("D/", f"{self._directory}/"), place)
        return self._edgewise

    def client(self, way: str) -> GrpcClient:
        """Return a channel by one of WAYS."""
        if way == "direct":
            return GrpcClient(self.plain.address)
        if way == "tls":
            return GrpcClient(f"127.0.0.1:{self.edgewise.tls_port}", roots=self.roots, authority="edge.test")
        authority = "secure.test" if way == "tls upstream" else "example.com"
        return GrpcClient(f"127.0.0.1:{self.edgewise.port}", authority=authority)

    def stop(self) -> None:
        """End everything."""
        if self._edgewise is not None:
            self._edgewise.stop()
        self.plain.stop()
        self.secure.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    standing = Site(tmp_path_factory.mktemp("grpc"))
    yield standing
    standing.stop()


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, site: Site) -> Iterator[GrpcClient]:
    with site.client(request.param) as channel:
        yield channel


@pytest.fixture
def edged(site: Site) -> Iterator[GrpcClient]:
    """A channel through the edge, for what has no meaning without one."""
    with site.client("h2c") as channel:
        yield channel


class TestKinds:
    def test_unary(self, client: GrpcClient) -> None:
        assert [client.unary(b"message %d" % index) for index in range(5)] == [b"message %d" % n for n in range(5)]

    def test_an_empty_message_is_a_message(self, client: GrpcClient) -> None:
        assert client.unary(b"") == b""

    def test_server_streaming(self, client: GrpcClient) -> None:
        assert [len(message) for message in client.stream(b"200 1000")] == [1000] * 200

    def test_a_stream_without_messages_is_whole(self, client: GrpcClient) -> None:
        call = client.stream(b"0 0")
        assert list(call) == []
        assert call.code() == grpc.StatusCode.OK

    def test_client_streaming(self, client: GrpcClient) -> None:
        assert client.collect([b"x" * 1000] * 300) == b"300 messages, 300000 bytes"

    def test_each_answer_of_a_conversation_comes_before_the_next_question(self, client: GrpcClient) -> None:
        answered = threading.Semaphore(1)

        def questions() -> Iterator[bytes]:
            for index in range(50):
                assert answered.acquire(timeout=10), "no answer to the question before"
                yield b"%d" % index

        received = []
        for message in client.chat(questions()):
            received.append(message)
            answered.release()
        assert received == [b"%d" % index for index in range(50)]

    def test_ten_thousand_messages_both_ways(self, client: GrpcClient) -> None:
        call = client.chat((b"message %d" % index for index in range(10_000)), timeout=45)
        assert list(call) == [b"message %d" % index for index in range(10_000)]
        assert call.code() == grpc.StatusCode.OK

    def test_large_messages(self, client: GrpcClient) -> None:
        message = bytes(range(256)) * 32_768
        assert client.unary(message) == message
        assert client.collect([message] * 3) == b"3 messages, %d bytes" % (3 * len(message))
        assert sum(map(len, client.stream(b"20 %d" % MEBIBYTE))) == 20 * MEBIBYTE

    def test_calls_at_once_on_one_channel(self, client: GrpcClient) -> None:
        results: list[bytes] = []

        def call(number: int) -> None:
            results.extend(client.unary(b"%d" % number) for _ in range(10))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == sorted(b"%d" % number for number in range(10) for _ in range(10))


class TestMetadata:
    def test_metadata_passes_both_ways(self, client: GrpcClient) -> None:
        sent = (
            ("echo-text", "a, b; c"),
            ("echo-twice", "1"),
            ("echo-twice", "2"),
            ("echo-bytes-bin", bytes(range(256))),
            ("echo_under_score", "kept"),
            ("echo-trailing-text", "behind"),
            ("echo-trailing-bin", b"\0\xff"),
        )
        _, call = client.unary_call(b"", metadata=sent)
        trailing = [item for item in sent if "trailing" in item[0]]
        assert sorted(map(tuple, call.trailing_metadata())) == sorted(trailing)
        initial = [tuple(item) for item in call.initial_metadata() if item[0].startswith("echo")]
        assert sorted(initial) == sorted(item for item in sent if item not in trailing)

    @pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code.name != "OK"])
    def test_every_status_passes_with_its_text_and_trailers(self, client: GrpcClient, code: str) -> None:
        with pytest.raises(grpc.RpcError) as raised:
            client.unary(f"{code} 50% “gone”".encode(), "Fail")
        error: Any = raised.value
        assert (error.code().name, error.details()) == (code, "50% “gone”")
        trailing = [tuple(item) for item in error.trailing_metadata()]
        assert [item for item in trailing if item[0] != "date"] == [("why-bin", b"\0\xff")]

    def test_a_status_after_messages_comes_in_the_trailers(self, client: GrpcClient) -> None:
        call = client.stream(b"", "Late")
        assert next(call) == b"first"
        with pytest.raises(grpc.RpcError):
            next(call)
        assert (call.code(), call.details()) == (grpc.StatusCode.UNAVAILABLE, "after a message")

    def test_a_method_that_does_not_exist_is_unimplemented(self, client: GrpcClient) -> None:
        with pytest.raises(grpc.RpcError) as raised:
            client.unary(b"", "Absent")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


class TestEnds:
    def test_a_cancelled_call_is_cancelled_at_the_server(self, site: Site, client: GrpcClient) -> None:
        for server in (site.plain, site.secure):
            server.cancelled.clear()
        call = client.stream(b"on", "Hang")
        assert next(call) == b"on"
        call.cancel()
        wait_until(lambda: site.plain.cancelled.is_set() or site.secure.cancelled.is_set(), "the server knows")
        assert client.unary(b"still") == b"still"

    def test_the_deadline_reaches_the_server(self, site: Site, client: GrpcClient) -> None:
        site.plain.calls.clear()
        site.secure.calls.clear()
        client.unary(b"", timeout=7.5)
        (call,) = site.plain.calls + site.secure.calls
        assert 0 < call.remaining <= 7.6  # grpcio's own clock is a little off


class TestRoutes:
    def test_a_method_has_a_route_and_counters_of_its_own(self, site: Site, edged: GrpcClient) -> None:
        edged.unary(b"")
        edged.collect([b"a"])
        log = site.edgewise.wait_access_log(2)
        routes = {(line["path"].rpartition("/")[2], line["route"]) for line in log}
        assert {("Unary", "unary"), ("Collect", "everything")} <= routes

    def test_statuses_are_counted_by_route_and_logged(self, site: Site, edged: GrpcClient) -> None:
        with pytest.raises(grpc.RpcError):
            edged.unary(b"NOT_FOUND gone", "Fail")
        call = edged.stream(b"", "Late")
        assert next(call) == b"first"
        with pytest.raises(grpc.RpcError):
            next(call)

        def counted() -> bool:
            text = site.edgewise.admin("/metrics").decode()
            wanted = ('{http_route="everything",grpc_status="5"} ', '{http_route="everything",grpc_status="14"} ')
            return all("edgewise_grpc_responses_total" + labels in text for labels in wanted)

        wait_until(counted, "both statuses are counted")
        wait_until(lambda: {5, 14} <= {line.get("grpc_status") for line in site.edgewise.access_log}, "both are logged")
