"""`edgewise app` and managed apps in a file: real ASGI and WSGI apps, supervised behind the proxy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.edgewise_process import COMMAND, EdgewiseProcess, free_port, wait_until
from support.raw_http import RawClient, RawResponse, get

ASGI = """
import asyncio, os

VERSION = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                print("shut down")
                return
    if scope["path"] == "/slow":
        print("slow begins")
        await asyncio.sleep(1)
    if scope["path"] == "/print":
        print("a line of the app")
    client = scope["client"][0]
    body = f"{VERSION} {os.getpid()} {client} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

async def second(scope, receive, send):
    global VERSION
    VERSION = "two"
    await app(scope, receive, send)
"""

WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = sorted(name for name in environ if name.startswith("HTTP_X_"))
    return [f"{environ['wsgi.version'][0]} {environ['REMOTE_ADDR']} {','.join(names)}".encode()]
"""


class AppCommand:
    """A running `edgewise app`."""

    def __init__(self, directory: Path, target: str, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._log = directory / "edgewise.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "app", target, "--listen", f"127.0.0.1:{self.port}", "--workers", "1", *options],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "XDG_RUNTIME_DIR": str(directory), "XDG_STATE_HOME": str(directory)},
            )
        wait_until(lambda: "listening on" in self.log or self.process.poll() is not None, "edgewise listens")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(self, path: str = "/", *lines: str) -> RawResponse:
        with RawClient(("127.0.0.1", self.port)) as client:
            return client.ask(get(path, "example.com", *lines))

    def pid(self, *lines: str) -> int:
        """Return the process that answers."""
        return int(self.ask("/", *lines).body.split()[1])

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)


StartApp = Callable[..., AppCommand]


@pytest.fixture
def app_command(tmp_path: Path) -> Iterator[StartApp]:
    """Write shop.py and run `edgewise app shop:app` with further options."""
    running: list[AppCommand] = []

    def start(source: str, *options: str, target: str = "shop:app", port: int = 0) -> AppCommand:
        (tmp_path / "shop.py").write_text(source)
        running.append(AppCommand(tmp_path, target, *options, port=port))
        return running[-1]

    yield start
    for command in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.stop()
        command.process.kill()


class TestInterfaces:
    def test_an_asgi_app_sees_the_clients_address_and_scheme(self, app_command: StartApp) -> None:
        command = app_command(ASGI)
        version, _pid, client, scheme = command.ask().body.decode().split()
        assert (version, client, scheme) == ("one", "127.0.0.1", "http")

    def test_a_wsgi_app_runs_without_being_told_what_it_is(self, app_command: StartApp) -> None:
        command = app_command(WSGI)
        assert command.ask().body.decode().split()[:2] == ["1", "127.0.0.1"]

    def test_fields_that_wsgi_could_confuse_with_the_proxys_own_do_not_reach_it(self, app_command: StartApp) -> None:
        command = app_command(WSGI)
        names = command.ask("/", "X_Forwarded_For: 6.6.6.6", "X-Shop: 1").body.decode().split()[2].split(",")
        assert "HTTP_X_SHOP" in names
        assert "6.6.6.6" not in command.ask("/", "X_Forwarded_For: 6.6.6.6").body.decode()


class TestProcesses:
    def test_requests_are_shared_among_the_processes(self, app_command: StartApp) -> None:
        command = app_command(ASGI, "--processes", "2", "--balance", "round_robin")
        assert len({command.pid() for _ in range(4)}) == 2

    def test_a_sticky_client_stays_on_its_process(self, app_command: StartApp) -> None:
        command = app_command(ASGI, "--processes", "2", "--sticky", "--balance", "round_robin")
        answer = command.ask()
        cookie = str(answer.get("set-cookie")).partition(";")[0]
        assert {command.pid(f"Cookie: {cookie}") for _ in range(6)} == {int(answer.body.split()[1])}

    def test_a_sticky_cookie_holds_over_a_restart_of_edgewise(self, app_command: StartApp) -> None:
        options = ("--processes", "2", "--sticky")
        first = app_command(ASGI, *options)
        cookie = str(first.ask().get("set-cookie")).partition(";")[0]
        first.stop()
        second = app_command(ASGI, *options, port=first.port)
        assert second.ask("/", f"Cookie: {cookie}").get("set-cookie") is None

    def test_a_process_that_dies_is_replaced_and_no_request_fails(self, app_command: StartApp) -> None:
        command = app_command(ASGI)
        before = command.pid()
        os.kill(before, signal.SIGKILL)
        assert command.ask().status == 200
        assert command.pid() != before

    def test_sigusr2_brings_changed_code_into_service_without_a_failed_request(
        self, app_command: StartApp, tmp_path: Path
    ) -> None:
        command = app_command(ASGI, "--processes", "2")
        (tmp_path / "shop.py").write_text(ASGI.replace('"one"', '"new"'))
        command.process.send_signal(signal.SIGUSR2)
        answers: list[RawResponse] = []

        def changed() -> bool:
            answers.extend(command.ask() for _ in range(6))
            return all(answer.body.startswith(b"new") for answer in answers[-6:])

        wait_until(changed, "the new code answers")
        assert {answer.status for answer in answers} == {200}

    def test_what_the_app_prints_is_passed_on_with_its_name(self, app_command: StartApp) -> None:
        command = app_command(ASGI)
        command.ask("/print")
        wait_until(lambda: "[app.0] a line of the app\n" in command.log, "the line is passed on")

    def test_no_process_outlives_a_supervisor_that_was_killed(self, app_command: StartApp) -> None:
        command = app_command(ASGI)
        pid = command.pid()
        command.process.kill()
        command.process.wait()
        wait_until(lambda: not Path(f"/proc/{pid}/cmdline").exists(), "the app's process has ended")


class TestEnd:
    def test_requests_finish_and_the_app_shuts_down_in_order(self, app_command: StartApp, tmp_path: Path) -> None:
        command = app_command(ASGI)
        with RawClient(("127.0.0.1", command.port)) as client:
            client.send(get("/slow"))
            wait_until(lambda: "slow begins" in command.log, "the app has the request")
            command.process.terminate()
            assert client.read().status == 200
        assert command.process.wait(20) == 0
        assert "[app.0] shut down\n" in command.log
        assert not list(tmp_path.glob("edgewise-*"))

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("nowhere_to_be_found:app", "no module named 'nowhere_to_be_found'"),
            ("shop:missing", "module 'shop' has no attribute 'missing'"),
            ("shop:VERSION", "shop:VERSION is str, not an application"),
        ],
    )
    def test_an_app_that_cannot_be_loaded_ends_the_start_with_one_line(
        self, app_command: StartApp, target: str, expected: str
    ) -> None:
        command = app_command(ASGI, target=target)
        assert command.process.wait(20) == 1
        (line,) = command.log.splitlines()
        assert line.startswith("Error: ")
        assert expected in line

    def test_an_app_that_fails_while_it_starts_ends_the_start_with_its_traceback(self, app_command: StartApp) -> None:
        command = app_command("raise RuntimeError('no database')")
        assert command.process.wait(20) == 1
        assert "[app.0] Traceback" in command.log
        assert command.log.endswith("Error: shop:app does not start: RuntimeError: no database\n")


MANAGED = '[upstreams.shop]\napp = "shop:{attribute}"\nprocesses = {processes}\n'


class TestReload:
    @pytest.fixture
    def server(self, edgewise_server: Callable[..., EdgewiseProcess], tmp_path: Path) -> EdgewiseProcess:
        (tmp_path / "shop.py").write_text(ASGI)
        environment = {"XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        server = edgewise_server(MANAGED.format(attribute="app", processes=1), env=environment)
        wait_until(lambda: "admin on" in server.log, "all processes serve")
        return server

    def reload(self, server: EdgewiseProcess, attribute: str, processes: int) -> None:
        server.write_config(MANAGED.format(attribute=attribute, processes=processes))
        server.admin("/api/v1/reload", "POST")

    def bodies(self, server: EdgewiseProcess, count: int) -> list[list[str]]:
        """Return the words of `count` answers, each over a connection of its own."""
        answers = []
        for _ in range(count):
            with server.client() as client:
                answers.append(client.ask(get()).body.decode().split())
        return answers

    def test_an_unchanged_app_keeps_its_process(self, server: EdgewiseProcess) -> None:
        before = self.bodies(server, 1)
        self.reload(server, "app", 1)
        assert self.bodies(server, 1) == before

    def test_added_processes_serve_when_the_reload_is_answered(self, server: EdgewiseProcess) -> None:
        self.reload(server, "app", 2)
        assert len({words[1] for words in self.bodies(server, 4)}) == 2
        self.reload(server, "app", 1)
        assert len({words[1] for words in self.bodies(server, 4)}) == 1

    def test_a_changed_app_is_replaced_process_by_process_without_a_failed_request(
        self, server: EdgewiseProcess
    ) -> None:
        self.reload(server, "second", 1)
        seen: list[str] = []

        def changed() -> bool:
            seen.extend(words[0] for words in self.bodies(server, 5))
            return seen[-5:] == ["two"] * 5

        wait_until(changed, "the new app answers")
        assert set(seen) <= {"one", "two"}

    def test_an_app_that_does_not_start_refuses_the_reload(self, server: EdgewiseProcess) -> None:
        server.write_config(
            MANAGED.format(attribute="app", processes=1)
            + '[upstreams.other]\napp = "shop:missing"\n[[routes]]\nupstream = "other"\n'
        )
        with RawClient(("127.0.0.1", server.admin_port)) as client:
            host = f"127.0.0.1:{server.admin_port}"
            client.send(f"POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
            answer = client.read()
        assert answer.status == 409
        assert b"module 'shop' has no attribute 'missing'" in answer.body
        assert self.bodies(server, 1)[0][0] == "one"
