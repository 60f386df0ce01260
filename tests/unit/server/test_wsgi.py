from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edgewise.server.wsgi import Message, Wsgi, WsgiApp, environ_of

Fields = list[tuple[bytes, bytes]]


def scope_of(path: bytes = b"/", headers: Fields | None = None, **more: Any) -> Message:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "raw_path": path,
        "query_string": b"a=1",
        "headers": [(b"host", b"shop.example.com:8080")] if headers is None else headers,
        "client": ("192.0.2.7", 4711),
        **more,
    }


def environ(path: bytes = b"/", headers: Fields | None = None, length: int = 0, **more: Any) -> dict[str, Any]:
    return environ_of(scope_of(path, headers, **more), io.BytesIO(), length)


def ask(app: WsgiApp, chunks: tuple[bytes, ...] = (b"",), scope: Message | None = None) -> list[Message]:
    """Return the messages that answer a request whose content comes in `chunks`."""
    sent: list[Message] = []
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Wsgi(app)(scope or scope_of(), receive, send))  # type: ignore[arg-type]
    return sent


def content(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


class TestEnviron:
    def test_the_request_is_described_as_pep_3333_says(self) -> None:
        found = environ(b"/caf%C3%A9", root_path="/shop")
        assert found["PATH_INFO"].encode("latin-1").decode() == "/café"
        assert (found["SCRIPT_NAME"], found["QUERY_STRING"], found["REQUEST_METHOD"]) == ("/shop", "a=1", "GET")
        assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("shop.example.com", "8080")
        assert (found["REMOTE_ADDR"], found["SERVER_PROTOCOL"]) == ("192.0.2.7", "HTTP/1.1")

    @pytest.mark.parametrize(
        ("host", "scheme", "expected"),
        [
            (b"a.example", "http", ("a.example", "80")),
            (b"a.example", "https", ("a.example", "443")),
            (b"[::1]", "http", ("[::1]", "80")),
            (b"[::1]:81", "http", ("[::1]", "81")),
        ],
    )
    def test_name_and_port_come_from_host(self, host: bytes, scheme: str, expected: tuple[str, str]) -> None:
        found = environ(headers=[(b"host", host)], scheme=scheme)
        assert (found["SERVER_NAME"], found["SERVER_PORT"]) == expected

    def test_fields_with_underscores_are_left_out(self) -> None:
        found = environ(headers=[(b"x-real-user", b"alice"), (b"x_real_user", b"mallory")])
        assert found["HTTP_X_REAL_USER"] == "alice"

    def test_fields_that_repeat_are_joined(self) -> None:
        found = environ(headers=[(b"accept", b"a"), (b"accept", b"b"), (b"cookie", b"c=1"), (b"cookie", b"d=2")])
        assert (found["HTTP_ACCEPT"], found["HTTP_COOKIE"]) == ("a,b", "c=1; d=2")

    def test_the_length_of_chunked_content_is_known_since_it_was_read(self) -> None:
        assert environ(headers=[], length=5)["CONTENT_LENGTH"] == "5"
        assert "CONTENT_LENGTH" not in environ(headers=[])
        assert environ(headers=[(b"content-length", b"0"), (b"content-type", b"a/b")])["CONTENT_LENGTH"] == "0"

    def test_a_proxy_field_cannot_set_a_variable_of_the_server(self) -> None:
        assert environ(headers=[(b"remote-addr", b"6.6.6.6")])["REMOTE_ADDR"] == "192.0.2.7"


class TestAnswers:
    def test_a_list_is_answered_in_two_messages(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("201 Created", [("X-Name", "value")])
            return [b"one", b"two"]

        assert ask(app) == [
            {"type": "http.response.start", "status": 201, "headers": [(b"x-name", b"value")]},
            {"type": "http.response.body", "body": b"onetwo"},
        ]

    def test_an_iterable_of_declared_length_is_answered_in_two_messages(self) -> None:
        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Length", "5")])
            yield b"whole"

        assert [message["type"] for message in ask(app)] == ["http.response.start", "http.response.body"]

    def test_a_stream_is_sent_piece_by_piece(self) -> None:
        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"one"
            yield b""
            yield b"two"

        messages = ask(app)
        assert [message.get("body") for message in messages] == [None, b"one", b"two", b""]
        assert [message.get("more_body", False) for message in messages] == [False, True, True, False]

    def test_write_sends_before_what_is_returned(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [])
            write(b"written ")
            return [b"returned"]

        assert content(ask(app)) == b"written returned"

    def test_the_iterable_is_closed_whatever_happens(self) -> None:
        closed: list[str] = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                raise RuntimeError("broken")

            def close(self) -> None:
                closed.append("closed")

        def app(environ: Any, start_response: Any) -> Body:
            start_response("200 OK", [])
            return Body()

        with pytest.raises(RuntimeError, match="broken"):
            ask(app)  # type: ignore[arg-type]
        assert closed == ["closed"]

    def test_a_head_may_be_replaced_by_that_of_an_error_until_content_is_sent(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            try:
                raise ValueError("late")
            except ValueError as error:
                start_response("500 Oops", [], (type(error), error, error.__traceback__))
            return [b"sorry"]

        assert ask(app)[0]["status"] == 500

    def test_an_error_after_content_was_sent_is_raised(self) -> None:
        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"begun"
            try:
                raise ValueError("late")
            except ValueError as error:
                start_response("500 Oops", [], (type(error), error, error.__traceback__))

        with pytest.raises(ValueError, match="late"):
            ask(app)

    def test_an_app_that_never_starts_its_response_is_an_error(self) -> None:
        with pytest.raises(AssertionError, match="without start_response"):
            ask(lambda environ, start_response: [])

    def test_the_app_runs_outside_of_the_event_loops_thread(self) -> None:
        threads: list[str] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            threads.append(threading.current_thread().name)
            start_response("204 No Content", [])
            return []

        ask(app)
        assert threads[0].startswith("wsgi")


class TestContent:
    def test_the_app_reads_what_the_client_sent(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [environ["CONTENT_LENGTH"].encode(), b" ", environ["wsgi.input"].read()]

        assert content(ask(app, (b"one ", b"two ", b"three"))) == b"13 one two three"
        large = b"x" * 3_000_000
        assert content(ask(app, (large[:1_500_000], large[1_500_000:]))) == b"3000000 " + large

    def test_a_client_that_left_meanwhile_is_not_answered(self) -> None:
        async def run() -> list[Message]:
            sent: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)

            await Wsgi(lambda environ, start_response: [])(scope_of(), receive, send)
            return sent

        assert asyncio.run(run()) == []

    def test_a_websocket_is_refused(self) -> None:
        assert ask(lambda environ, start_response: [], scope={"type": "websocket"})[0]["type"] == "websocket.close"
