"""What fails at the edge is told in gRPC's words; deadlines end calls; UNAVAILABLE is tried elsewhere."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.grpc_client import GrpcClient
from support.grpc_raw import is_trailers_only, raw_call
from support.grpc_server import SERVICE, GrpcServer
from support.grpc_web_client import framed
from support.http2_raw import Answer
from support.raw_http import get

StartEdgewise = Callable[..., EdgewiseProcess]
StartServer = Callable[..., GrpcServer]


@pytest.fixture
def grpc_server() -> Iterator[StartServer]:
    """Start a gRPC server: `grpc_server(name=...)`."""
    running: list[GrpcServer] = []

    def start(**options: object) -> GrpcServer:
        running.append(GrpcServer(**options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for server in running:
        server.stop()


def toml(*addresses: str, upstream: str = "", route: str = "") -> str:
    """One upstream with these servers, and a route for everything."""
    servers = ", ".join(f'"{address}"' for address in addresses)
    return f"""
        [upstreams.app]
        protocol = "h2c"
        servers = [{servers}]
        eject = false
        {upstream}
        [[routes]]
        upstream = "app"
        {route}
        """


def raw(edgewise: EdgewiseProcess, message: bytes, method: str = "Unary", *extra: tuple[str, str]) -> Answer:
    return raw_call(("127.0.0.1", edgewise.port), framed(message), method, *extra)


def told(answer: Answer) -> str | None:
    """Return the status of an answer that has all marks of a gRPC failure without messages."""
    assert is_trailers_only(answer), answer
    assert answer.status == 200
    assert answer.get("content-type") == "application/grpc"
    return answer.get("grpc-status")


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """Return the status with which a call fails."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    code: grpc.StatusCode = raised.value.code()
    return code


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


class TestStatuses:
    def test_a_dead_server_is_unavailable(self, edgewise_server: StartEdgewise) -> None:
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}"))
        assert told(raw(edgewise, b"")) == "14"
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            for _ in range(3):
                assert code_of(lambda: client.unary(b"")) == grpc.StatusCode.UNAVAILABLE
        assert {line["grpc_status"] for line in edgewise.wait_access_log(4)} == {14}

    def test_no_answer_in_time_is_deadline_exceeded(self, edgewise_server: StartEdgewise, silent: str) -> None:
        edgewise = edgewise_server(toml(silent, upstream="[upstreams.app.timeouts]\nresponse = '300ms'"))
        assert told(raw(edgewise, b"")) == "4"

    def test_no_route_is_unimplemented(self, edgewise_server: StartEdgewise) -> None:
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}", route='path = "/other/*"'))
        assert told(raw(edgewise, b"")) == "12"

    def test_a_route_for_another_method_is_unimplemented(self, edgewise_server: StartEdgewise) -> None:
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}", route='method = "GET"'))
        assert told(raw(edgewise, b"")) == "12"

    def test_content_over_the_limit_is_resource_exhausted(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address, route="body_limit = 1000"))
        assert told(raw(edgewise, b"x" * 2000)) == "8"
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            assert code_of(lambda: client.collect([b"x" * 300] * 10)) == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert client.unary(b"small") == b"small"

    def test_a_stream_goes_on_beyond_the_limit_of_other_content(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address))
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            assert client.collect(bytes(10**6) for _ in range(110)) == b"110 messages, 110000000 bytes"

    def test_an_open_circuit_is_unavailable(self, edgewise_server: StartEdgewise) -> None:
        breaker = "breaker = { error_rate = 0.5, min_requests = 1, open_time = '1h' }"
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}", upstream=breaker))
        assert [told(raw(edgewise, b"")) for _ in range(3)] == ["14"] * 3

    def test_a_server_that_dies_within_an_answer_ends_it_with_a_status(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        server = grpc_server()
        edgewise = edgewise_server(toml(server.address))
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            call = client.stream(b"on", "Hang")
            assert next(call) == b"on"
            server.stop()
            assert code_of(lambda: next(call)) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    def test_who_does_not_speak_grpc_is_answered_as_ever(self, edgewise_server: StartEdgewise) -> None:
        edgewise = edgewise_server(toml(f"127.0.0.1:{free_port()}"))
        with edgewise.client() as client:
            answer = client.ask(get("/"))
        assert (answer.status, answer.get("content-type")) == (502, "text/plain; charset=utf-8")
        assert answer.get("grpc-status") is None


class TestDeadlines:
    def test_the_edge_ends_a_call_whose_deadline_passed(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        server = grpc_server()
        edgewise = edgewise_server(toml(server.address))
        # Asked for by hand: a grpcio client would end the call itself.
        assert told(raw(edgewise, b"", "Hang", ("grpc-timeout", "300m"))) == "4"
        assert server.cancelled.wait(10)

    def test_the_edge_ends_a_call_that_the_server_never_takes(
        self, edgewise_server: StartEdgewise, silent: str
    ) -> None:
        edgewise = edgewise_server(toml(silent))
        assert told(raw(edgewise, b"", "Unary", ("grpc-timeout", "300m"))) == "4"

    def test_a_stream_whose_deadline_passes_ends_with_the_status_in_its_trailers(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address))
        answer = raw(edgewise, b"on", "Hang", ("grpc-timeout", "500m"))
        assert answer.body == framed(b"on")
        assert dict(answer.trailers)["grpc-status"] == "4"

    def test_a_deadline_longer_than_the_time_for_an_answer_does_not_extend_it(
        self, edgewise_server: StartEdgewise, silent: str
    ) -> None:
        edgewise = edgewise_server(toml(silent, upstream="[upstreams.app.timeouts]\nresponse = '300ms'"))
        assert told(raw(edgewise, b"", "Unary", ("grpc-timeout", "1H"))) == "4"

    def test_what_is_left_of_the_deadline_is_passed_on(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        server = grpc_server()
        edgewise = edgewise_server(toml(server.address))
        raw(edgewise, b"", "Unary", ("grpc-timeout", "10S"))
        raw(edgewise, b"", "Unary")
        with_deadline, without = server.calls
        assert 5 < with_deadline.remaining < 10
        assert without.remaining > 1e6

    def test_a_retry_has_what_the_first_attempt_left(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        slow, good = grpc_server(), grpc_server()
        slow.refuse, slow.refuse_after = grpc.StatusCode.UNAVAILABLE, 0.5
        edgewise = edgewise_server(toml(slow.address, good.address, upstream="retry = { on = ['grpc-unavailable'] }"))
        for _ in range(2):
            assert raw(edgewise, b"", "Unary", ("grpc-timeout", "20S")).get("grpc-status") == "0"
        assert min(call.remaining for call in good.calls) <= slow.calls[0].remaining - 0.5

    @pytest.mark.parametrize("value", ["10", "S", "1 S", "-1S", "123456789S", "1_0S"])
    def test_a_malformed_deadline_is_refused(self, edgewise_server: StartEdgewise, silent: str, value: str) -> None:
        edgewise = edgewise_server(toml(silent))
        assert told(raw(edgewise, b"", "Unary", ("grpc-timeout", value))) == "13"


class TestSilence:
    def test_a_client_may_be_silent_for_longer_than_other_content_may(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address, route="timeouts = { body = '200ms' }"))
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            assert client.collect(_slowly(3, 0.8)) == b"3 messages, 9 bytes"

    def test_requests_keep_a_stream_alive_that_answers_at_its_end(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address, route="timeouts = { response = '900ms' }"))
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            assert client.collect(_slowly(12, 0.2)) == b"12 messages, 36 bytes"

    def test_silence_of_both_sides_ends_a_conversation(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        edgewise = edgewise_server(toml(grpc_server().address, route="timeouts = { response = '300ms' }"))
        over = threading.Event()

        def questions() -> Iterator[bytes]:
            yield b"first"
            over.wait(10)

        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            call = client.chat(questions())
            assert next(call) == b"first"
            assert code_of(lambda: next(call)) == grpc.StatusCode.DEADLINE_EXCEEDED
            over.set()
            assert client.unary(b"still") == b"still"


def _slowly(count: int, pause: float) -> Iterator[bytes]:
    for _ in range(count):
        yield b"abc"
        time.sleep(pause)


class TestRetries:
    RETRY = "retry = { on = ['connect', 'grpc-unavailable'], attempts = 2 }"

    def test_a_server_that_is_unavailable_is_passed_over(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        bad, good = grpc_server(), grpc_server(name=b"good")
        bad.refuse = grpc.StatusCode.UNAVAILABLE
        edgewise = edgewise_server(toml(bad.address, good.address, upstream=self.RETRY))
        with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
            assert {client.unary(b"", "Name") for _ in range(6)} == {b"good"}
            assert client.collect([b"abc"] * 3) == b"3 messages, 9 bytes"
        assert bad.calls

    def test_other_statuses_and_routes_without_the_setting_are_passed_on(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        bad, good = grpc_server(), grpc_server()
        bad.refuse = grpc.StatusCode.INTERNAL
        edgewise = edgewise_server(toml(bad.address, good.address, upstream=self.RETRY))
        assert {raw(edgewise, b"").get("grpc-status") for _ in range(4)} == {"0", "13"}
        bad.refuse = grpc.StatusCode.UNAVAILABLE
        edgewise = edgewise_server(toml(bad.address, good.address))
        assert {raw(edgewise, b"").get("grpc-status") for _ in range(4)} == {"0", "14"}

    def test_nothing_is_repeated_once_something_was_answered(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        servers = [grpc_server(), grpc_server()]
        edgewise = edgewise_server(toml(*(server.address for server in servers), upstream=self.RETRY))
        answer = raw(edgewise, b"", "Late")
        assert (answer.body, dict(answer.trailers)["grpc-status"]) == (framed(b"first"), "14")
        assert sum(len(server.calls) for server in servers) == 1

    def test_content_that_was_not_kept_is_not_sent_again(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        bad, good = grpc_server(), grpc_server()
        bad.refuse, bad.refuse_after = grpc.StatusCode.UNAVAILABLE, 0.5
        retry = "retry = { on = ['grpc-unavailable'], body_limit = 1000 }"
        edgewise = edgewise_server(toml(bad.address, good.address, upstream=retry))
        assert {raw(edgewise, b"x" * 500).get("grpc-status") for _ in range(4)} == {"0"}
        assert {raw(edgewise, b"x" * 5000).get("grpc-status") for _ in range(4)} == {"0", "14"}

    def test_the_budget_bounds_retries(self, edgewise_server: StartEdgewise, grpc_server: StartServer) -> None:
        bad, worse = grpc_server(), grpc_server()
        bad.refuse = worse.refuse = grpc.StatusCode.UNAVAILABLE
        retry = "retry = { on = ['grpc-unavailable'], budget_ratio = 0.0, budget_min = 0 }"
        edgewise = edgewise_server(toml(bad.address, worse.address, upstream=retry))
        assert {raw(edgewise, b"").get("grpc-status") for _ in range(4)} == {"14"}
        assert len(bad.calls) + len(worse.calls) == 4

    def test_a_server_that_restarts_fails_no_call(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        # A server of grpcio that stops ends calls which it has read and not begun with CANCELLED.
        retry = "retry = { on = ['connect', 'grpc-unavailable', 'grpc-cancelled'], attempts = 2 }"
        lasting, first = grpc_server(), grpc_server()
        edgewise = edgewise_server(toml(lasting.address, first.address, upstream=retry))
        failures: list[grpc.RpcError] = []
        done = threading.Event()

        def keep_calling() -> None:
            with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
                while not done.is_set():
                    try:
                        client.unary(b"")
                    except grpc.RpcError as error:
                        failures.append(error)

        thread = threading.Thread(target=keep_calling)
        thread.start()
        wait_until(lambda: len(first.calls) > 20, "both servers are in use")
        first.drain()
        restarted = grpc_server(port=first.port)
        wait_until(lambda: len(restarted.calls) > 20, "the server is used again")
        done.set()
        thread.join()
        assert not failures

    def test_a_route_may_ask_for_the_same_of_one_method_only(
        self, edgewise_server: StartEdgewise, grpc_server: StartServer
    ) -> None:
        bad, good = grpc_server(), grpc_server(name=b"good")
        bad.refuse = grpc.StatusCode.UNAVAILABLE
        both = f'protocol = "h2c"\neject = false\nservers = ["{bad.address}", "{good.address}"]\n'
        edgewise = edgewise_server(
            f"[upstreams.plain]\n{both}[upstreams.repeating]\n{both}{self.RETRY}\n"
            f'[[routes]]\nupstream = "plain"\n[[routes]]\npath = "/{SERVICE}/Name"\nupstream = "repeating"\n'
        )
        assert {raw(edgewise, b"", "Name").get("grpc-status") for _ in range(4)} == {"0"}
        assert {raw(edgewise, b"").get("grpc-status") for _ in range(4)} == {"0", "14"}


def test_a_drain_lets_calls_end_and_takes_no_new_ones(edgewise_server: StartEdgewise, grpc_server: StartServer) -> None:
    server = grpc_server()
    edgewise = edgewise_server(toml(server.address))
    with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
        asked = threading.Semaphore(0)

        def questions() -> Iterator[bytes]:
            yield b"before"
            asked.acquire()
            yield b"after"

        call = client.chat(questions())
        assert next(call) == b"before"
        edgewise.process.terminate()
        wait_until(lambda: "drain" in edgewise.log or "stopping" in edgewise.log or _refuses(edgewise.port), "it stops")
        asked.release()
        assert list(call) == [b"after"]
        assert call.code() == grpc.StatusCode.OK
    began = time.monotonic()
    edgewise.process.wait(20)
    assert time.monotonic() - began < 20


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False
