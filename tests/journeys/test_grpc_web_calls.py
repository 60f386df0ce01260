"""gRPC-Web from browsers over HTTP/1.1 and HTTP/2, to a real gRPC server that knows nothing of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.grpc_raw import raw_call
from support.grpc_server import SERVICE, GrpcServer
from support.grpc_web_client import WebAnswer, framed, read_answer, web_call
from support.raw_http import RawClient, RawResponse

FORMS = pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])


class Site:
    """A standing edgewise with a gRPC server and a dead one behind it."""

    def __init__(self, directory: Path) -> None:
        self.server = GrpcServer()
        self.edgewise = EdgewiseProcess(
            f"""
            [upstreams.app]
            protocol = "h2c"
            servers = ["{self.server.address}"]
            [upstreams.dead]
            protocol = "h2c"
            servers = ["127.0.0.1:{free_port()}"]
            [[routes]]
            upstream = "app"
            [[routes]]
            host = "dead.test"
            upstream = "dead"
            [[routes]]
            host = "small.test"
            upstream = "app"
            body_limit = 1000
            """,
            directory,
        )

    def call(self, method: str, message: bytes, *, text: bool, fields: tuple[str, ...] = ()) -> WebAnswer:
        """Call a method on a connection of its own."""
        with self.edgewise.client() as client:
            return web_call(client, method, message, text=text, fields=fields)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    standing = Site(tmp_path_factory.mktemp("web"))
    yield standing
    standing.edgewise.stop()
    standing.server.stop()


@FORMS
def test_unary(site: Site, text: bool) -> None:
    answer = site.call("Unary", b"hello", text=text, fields=("Echo-Text: a", "Echo-Trailing-Bin: AAE="))
    assert answer.response.status == 200
    kind = "application/grpc-web-text" if text else "application/grpc-web"
    assert answer.response.get("content-type") in (kind, kind + "+proto")
    assert answer.response.get("echo-text") == "a"
    assert answer.messages == [b"hello"]
    assert answer.trailers["grpc-status"] == "0"
    assert answer.trailers["echo-trailing-bin"].rstrip("=") == "AAE"


@FORMS
def test_server_streaming(site: Site, text: bool) -> None:
    answer = site.call("Expand", b"500 1000", text=text)
    assert [len(message) for message in answer.messages] == [1000] * 500
    assert answer.trailers["grpc-status"] == "0"


@FORMS
def test_the_first_message_comes_before_the_stream_ends(site: Site, text: bool) -> None:
    site.server.cancelled.clear()
    content = framed(b"on")
    kind = "application/grpc-web-text" if text else "application/grpc-web"
    with site.edgewise.client() as client:
        sent = base64.b64encode(content) if text else content
        head = (
            f"POST /{SERVICE}/Hang HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        client.send(head.encode() + sent)
        client.reader.until(b"\r\n\r\n")
        received = client.reader.until(base64.b64encode(content) if text else content)
        assert received
    assert site.server.cancelled.wait(10)


@FORMS
def test_large_messages(site: Site, text: bool) -> None:
    message = bytes(range(256)) * 4096
    answer = site.call("Unary", message, text=text)
    assert answer.messages == [message]


@FORMS
def test_a_status_of_the_server_comes_without_messages(site: Site, text: bool) -> None:
    answer = site.call("Fail", "NOT_FOUND 50% “gone”".encode(), text=text)
    assert (answer.response.status, answer.status, answer.messages) == (200, "5", [])


@FORMS
def test_a_status_after_messages_is_in_the_trailers(site: Site, text: bool) -> None:
    answer = site.call("Late", b"", text=text)
    assert answer.messages == [b"first"]
    assert answer.trailers == {"grpc-status": "14", "grpc-message": "after a message"}


@FORMS
def test_many_calls_on_one_connection(site: Site, text: bool) -> None:
    with site.edgewise.client() as client:
        for index in range(20):
            assert web_call(client, "Unary", b"%d" % index, text=text).messages == [b"%d" % index]


@FORMS
def test_a_failure_of_the_edge_has_a_status_and_a_grpc_web_type(site: Site, text: bool) -> None:
    with site.edgewise.client() as client:
        answer = web_to("dead.test", client, text=text)
    assert (answer.response.status, answer.status, answer.messages) == (200, "14", [])
    assert str(answer.response.get("content-type")).startswith("application/grpc-web")


def web_to(host: str, client: RawClient, *, text: bool, content: bytes = framed(b"")) -> WebAnswer:
    kind = "application/grpc-web-text" if text else "application/grpc-web"
    sent = base64.b64encode(content) if text else content
    head = f"POST /{SERVICE}/Unary HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(sent)}\r\n"
    return read_answer(client.ask(head.encode() + b"\r\n" + sent), text=text)


def test_the_limit_of_content_holds(site: Site) -> None:
    with site.edgewise.client() as client:
        assert web_to("small.test", client, text=False, content=framed(b"x" * 2000)).status == "8"


@pytest.mark.parametrize("content", [b"AAAAAAA*", b"AAAAA", b"A===", b"\0\0\0\0\0"])
def test_text_that_is_not_base64_is_refused(site: Site, content: bytes) -> None:
    head = f"POST /{SERVICE}/Unary HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web-text\r\n"
    with site.edgewise.client() as client:
        response: RawResponse = client.ask(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    assert (response.status, response.get("grpc-status")) == (200, "13")


def test_accept_chooses_the_form_of_the_answer(site: Site) -> None:
    content = framed(b"hello")
    head = (
        f"POST /{SERVICE}/Unary HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web+proto\r\n"
        f"Accept: application/grpc-web-text+proto\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with site.edgewise.client() as client:
        answer = read_answer(client.ask(head.encode() + content), text=True)
    assert answer.messages == [b"hello"]
    assert answer.response.get("content-type") == "application/grpc-web-text+proto"


def test_it_works_over_http2_too(site: Site) -> None:
    answer = raw_call(("127.0.0.1", site.edgewise.port), framed(b"hello"), content_type="application/grpc-web+proto")
    assert answer.body.startswith(framed(b"hello") + b"\x80")
    assert answer.trailers == []


def test_the_deadline_is_kept(site: Site) -> None:
    site.server.cancelled.clear()
    answer = site.call("Hang", b"on", text=False, fields=("Grpc-Timeout: 300m",))
    assert answer.messages == [b"on"]
    assert answer.status == "4"
    assert site.server.cancelled.wait(10)


def test_statuses_are_counted(site: Site) -> None:
    site.call("Fail", b"DATA_LOSS gone", text=False)
    wait_until(lambda: b'grpc_status="15"} ' in site.edgewise.admin("/metrics"), "the status is counted")


def test_a_server_refusing_calls_is_told(site: Site) -> None:
    site.server.refuse = grpc.StatusCode.PERMISSION_DENIED
    try:
        assert site.call("Unary", b"", text=True).status == "7"
    finally:
        site.server.refuse = None
