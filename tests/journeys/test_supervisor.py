"""A real edgewise as a family of processes: it survives its workers, reloads as a whole or not at all, and drains."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import COMMAND, SERVER, EdgewiseProcess, free_port, wait_until
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawClient, get

HELLO = '[[routes]]\nrespond = { body = "hello" }\n'
GOODBYE = '[[routes]]\nrespond = { body = "goodbye" }\n'
TWO_WORKERS = SERVER.replace("workers = 1", "workers = 2")


@pytest.fixture
def serving(edgewise_server: Callable[..., EdgewiseProcess]) -> Callable[..., EdgewiseProcess]:
    """Start edgewise and wait until every process serves (its ports accept connections before that)."""

    def start(toml: str, **options: Any) -> EdgewiseProcess:
        server = edgewise_server(toml, **options)
        wait_until(lambda: "admin on" in server.log, "all processes serve")
        return server

    return start


def body_from(server: EdgewiseProcess, path: str = "/") -> bytes:
    """Return what a new connection is answered."""
    with server.client() as client:
        return client.ask(get(path)).body


def workers_of(server: EdgewiseProcess) -> list[dict[str, Any]]:
    """Return the workers of the status, those that run."""
    return [worker for worker in json.loads(server.admin("/api/v1/status"))["workers"] if worker["pid"]]


def generation_of(server: EdgewiseProcess) -> int:
    """Return the generation that runs."""
    generation: int = json.loads(server.admin("/api/v1/status"))["generation"]
    return generation


def post_reload(server: EdgewiseProcess) -> tuple[int, dict[str, Any]]:
    """Ask for a reload by the API; return status and content."""
    with RawClient(("127.0.0.1", server.admin_port)) as client:
        host = f"127.0.0.1:{server.admin_port}"
        client.send(f"POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = client.read()
        return answer.status, json.loads(answer.body)


def gone(pid: int) -> bool:
    """Has a process that is not our child ended?"""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


class TestWorkers:
    def test_a_worker_that_dies_is_replaced_and_every_connection_is_answered(self, serving) -> None:
        server = serving(TWO_WORKERS + HELLO)
        before = workers_of(server)
        os.kill(before[0]["pid"], signal.SIGKILL)
        assert [body_from(server) for _ in range(50)] == [b"hello"] * 50
        wait_until(lambda: len(workers_of(server)) == 2, "both workers run again")
        after = workers_of(server)
        assert after[0]["pid"] != before[0]["pid"]
        assert after[1]["pid"] == before[1]["pid"]

    def test_counters_go_on_where_a_dead_worker_left_them(self, serving) -> None:
        server = serving(HELLO)
        for _ in range(3):
            body_from(server)
        wait_until(lambda: [one["requests"] for one in workers_of(server)] == [3], "three requests are counted")
        os.kill(workers_of(server)[0]["pid"], signal.SIGKILL)
        body_from(server)
        wait_until(lambda: [one["requests"] for one in workers_of(server)] == [4], "four requests are counted")

    def test_the_control_process_is_replaced_and_the_admin_address_answers_again(self, serving) -> None:
        server = serving(HELLO)
        control = (set(server.tree()) - {server.process.pid, workers_of(server)[0]["pid"]}).pop()
        os.kill(control, signal.SIGKILL)
        assert generation_of(server) == 1

    def test_no_process_outlives_a_supervisor_that_was_killed(self, serving) -> None:
        server = serving(TWO_WORKERS + HELLO)
        children = server.tree()[1:]
        assert len(children) == 3
        server.process.kill()
        server.process.wait()
        wait_until(lambda: all(gone(pid) for pid in children), "the children have ended")


class TestReload:
    def test_sighup_brings_the_new_configuration_to_every_worker(self, serving) -> None:
        server = serving(TWO_WORKERS + HELLO)
        pids = server.tree()
        server.write_config(TWO_WORKERS + GOODBYE)
        server.reload()
        wait_until(lambda: generation_of(server) == 2, "generation 2 runs")
        assert [body_from(server) for _ in range(20)] == [b"goodbye"] * 20
        assert server.tree() == pids

    def test_the_answer_comes_when_every_worker_runs_the_new_generation(self, serving) -> None:
        server = serving(TWO_WORKERS + HELLO)
        for generation, (text, body) in enumerate([(GOODBYE, b"goodbye"), (HELLO, b"hello")] * 5, start=2):
            server.write_config(TWO_WORKERS + text)
            assert post_reload(server) == (200, {"generation": generation})
            assert {body_from(server) for _ in range(8)} == {body}

    def test_a_bad_file_leaves_the_old_one_running_and_says_where_it_is_wrong(self, serving) -> None:
        server = serving(HELLO)
        server.write_config(HELLO.replace("respond", "respnd"))
        status, content = post_reload(server)
        problem = next(problem for problem in content["problems"] if problem["nearest"])
        assert status == 409
        assert (problem["line"], problem["nearest"]) == (10, "respond")
        assert problem["file"] == str(server.config)
        assert f"{server.config}:10: routes[0].respnd" in server.log
        assert (body_from(server), generation_of(server)) == (b"hello", 1)

    def test_what_fails_in_a_worker_is_taken_over_by_none(self, serving) -> None:
        server = serving(TWO_WORKERS + HELLO)
        server.write_config(TWO_WORKERS + GOODBYE + 'filters = ["nowhere_to_be_found:filter"]\n')
        status, content = post_reload(server)
        assert status == 409
        assert "nowhere_to_be_found" in content["problems"][0]["message"]
        assert {body_from(server) for _ in range(10)} == {b"hello"}
        server.write_config(TWO_WORKERS + GOODBYE)
        assert post_reload(server)[0] == 200
        assert {body_from(server) for _ in range(10)} == {b"goodbye"}

    def test_a_worker_that_is_replaced_after_a_reload_runs_the_new_configuration(self, serving) -> None:
        server = serving(HELLO)
        server.write_config(GOODBYE)
        assert post_reload(server)[0] == 200
        os.kill(workers_of(server)[0]["pid"], signal.SIGKILL)
        assert body_from(server) == b"goodbye"

    def test_listeners_come_and_go(self, serving) -> None:
        server = serving(HELLO)
        port = free_port()
        both = SERVER.replace('"127.0.0.1:$PORT"', f'"127.0.0.1:$PORT", "127.0.0.1:{port}"') + HELLO
        server.write_config(both)
        assert post_reload(server)[0] == 200
        with server.client() as kept, RawClient(("127.0.0.1", port)) as added:
            assert [added.ask(get()).body, kept.ask(get()).body] == [b"hello"] * 2
            server.write_config(HELLO)
            assert post_reload(server)[0] == 200
            assert added.ask(get()).body == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert body_from(server) == b"hello"

    def test_a_listener_that_cannot_be_opened_refuses_the_reload(self, serving) -> None:
        server = serving(HELLO)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            server.write_config(SERVER.replace("127.0.0.1:$PORT", address) + HELLO)
            status, content = post_reload(server)
        assert status == 409
        assert content["problems"][0]["message"] == f"cannot listen on {address}: Address already in use"
        assert body_from(server) == b"hello"

    def test_keep_alive_connections_are_served_by_the_new_configuration(self, serving) -> None:
        server = serving(HELLO)
        with server.client() as client:
            assert client.ask(get()).body == b"hello"
            server.write_config(GOODBYE)
            assert post_reload(server)[0] == 200
            assert client.ask(get()).body == b"goodbye"

    def test_a_request_under_way_ends_by_the_configuration_it_began_with(self, serving, origin) -> None:
        held, upstream = held_origin(origin)
        server = serving(f'[upstreams.app]\nservers = ["{upstream.address}"]\n')
        with server.client() as client:
            client.send(get())
            wait_until(lambda: held, "the origin has the request")
            server.write_config(GOODBYE)
            assert post_reload(server)[0] == 200
            held.pop()()
            assert client.read().body == b"ok"

    def test_a_key_that_only_a_restart_applies_is_named_in_the_log(self, serving) -> None:
        server = serving(HELLO)
        server.write_config(TWO_WORKERS + HELLO)
        assert post_reload(server)[0] == 200
        assert "server.workers stays 1 until edgewise is restarted" in server.log


def held_origin(origin: Callable[..., Origin]) -> tuple[list[Callable[[], None]], Origin]:
    """Return an origin that holds its answers, and a list that gets a function to release each."""
    held: list[Callable[[], None]] = []

    def script(connection: OriginConnection) -> None:
        connection.read_request()
        held.append(lambda: connection.send(OK))
        connection.reader.to_end()

    return held, origin(script)


class TestEnd:
    def test_sigterm_lets_requests_finish_and_refuses_new_clients(self, serving, origin) -> None:
        held, upstream = held_origin(origin)
        server = serving(f'[upstreams.app]\nservers = ["{upstream.address}"]\n')
        with server.client() as client:
            client.send(get())
            wait_until(lambda: held, "the origin has the request")
            server.process.terminate()
            wait_until(lambda: refused(server.port), "new clients are refused")
            held.pop()()
            assert client.read().body == b"ok"
        assert server.process.wait(10) == 0

    def test_requests_that_do_not_end_are_cut_at_the_deadline(self, serving, origin) -> None:
        held, upstream = held_origin(origin)
        toml = SERVER + f'drain_timeout = "300ms"\n[upstreams.app]\nservers = ["{upstream.address}"]\n'
        server = serving(toml)
        with server.client() as client:
            client.send(get())
            wait_until(lambda: held, "the origin has the request")
            server.process.terminate()
            assert server.process.wait(10) == 0

    def test_a_second_sigint_stops_at_once(self, serving, origin) -> None:
        held, upstream = held_origin(origin)
        server = serving(f'[upstreams.app]\nservers = ["{upstream.address}"]\n')
        with server.client() as client:
            client.send(get())
            wait_until(lambda: held, "the origin has the request")
            server.process.send_signal(signal.SIGINT)
            wait_until(lambda: refused(server.port), "new clients are refused")
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(10) == 0

    def test_unix_sockets_are_removed_and_stale_ones_replaced(self, serving, tmp_path) -> None:
        path = tmp_path / "edge.sock"
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        server = serving(SERVER.replace('"127.0.0.1:$PORT"', f'"127.0.0.1:$PORT", "unix:{path}"') + HELLO)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(get())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0
        assert not path.exists()


def refused(port: int) -> bool:
    """Does nothing listen on `port` any more?"""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return False
    return True


class TestSurroundings:
    def test_sigusr1_reopens_the_access_log(self, serving) -> None:
        server = serving(HELLO)
        body_from(server, "/before")
        server.wait_access_log(1)
        rotated = server.directory / "access.log.1"
        (server.directory / "access.log").rename(rotated)
        server.process.send_signal(signal.SIGUSR1)
        wait_until((server.directory / "access.log").exists, "the log is there again")
        body_from(server, "/after")
        assert [line["path"] for line in server.wait_access_log(1)] == ["/after"]
        assert json.loads(rotated.read_text())["path"] == "/before"

    def test_systemd_is_told_of_start_reload_and_stop(self, serving, tmp_path) -> None:
        path = str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(10)
            server = serving(HELLO, env={"NOTIFY_SOCKET": path})
            assert manager.recv(200) == b"READY=1\nSTATUS=generation 1"
            server.reload()
            assert manager.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(200) == b"READY=1\nSTATUS=generation 2"
            server.stop()
            assert manager.recv(200) == b"STOPPING=1"

    def test_what_listens_where_is_printed_once_all_workers_serve(self, serving) -> None:
        server = serving(HELLO)
        wait_until(lambda: "admin on" in server.log, "the addresses are printed")
        assert f"listening on http://127.0.0.1:{server.port}\n" in server.log
        assert f"admin on http://127.0.0.1:{server.admin_port}\n" in server.log

    def test_an_address_in_use_ends_the_start_with_one_line(self, tmp_path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            (tmp_path / "edgewise.toml").write_text(f'[server]\nlisten = ["{address}"]\nadmin = "off"\n{HELLO}')
            ended = subprocess.run([COMMAND, "run"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 1
        assert ended.stderr == f"Error: cannot listen on {address}: Address already in use\n"

    def test_a_filter_that_cannot_be_loaded_ends_the_start_with_one_line(self, tmp_path) -> None:
        text = f'[server]\nlisten = ["127.0.0.1:0"]\nadmin = "off"\n{HELLO}filters = ["nowhere_to_be_found:filter"]\n'
        (tmp_path / "edgewise.toml").write_text(text)
        ended = subprocess.run([COMMAND, "run"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1
        assert "nowhere_to_be_found" in ended.stderr


class TestServers:
    def test_a_server_that_fails_its_checks_gets_no_requests_until_it_passes_again(self, serving, origin) -> None:
        good, port = origin(), free_port()
        bad = f"127.0.0.1:{port}"
        server = serving(f'[upstreams.app]\nservers = ["{good.address}", "{bad}"]\nhealth = {{ interval = "50ms" }}\n')
        wait_until(lambda: state_of(server, bad) == "unhealthy", "the server is found to be down")
        returned = origin(port=port)
        wait_until(lambda: state_of(server, bad) == "healthy", "the server is found to be back")
        wait_until(lambda: body_from(server) == b"ok" and returned.requests, "the server is used again")

    def test_a_drained_server_gets_no_requests_until_that_is_undone(self, serving, origin) -> None:
        one, two = origin(), origin()
        server = serving(f'[upstreams.app]\nservers = ["{one.address}", "{two.address}"]\n')
        path = f"/api/v1/upstreams/app/servers/{one.address}"
        server.admin(f"{path}/drain", "POST")
        wait_until(lambda: used_only(server, two, one), "only the other server is used")
        wait_until(lambda: state_of(server, one.address) == "drained", "the last request there is counted as ended")
        server.admin(f"{path}/undrain", "POST")
        before = len(one.requests)
        wait_until(lambda: body_from(server) == b"ok" and len(one.requests) > before, "the server is used again")


def state_of(server: EdgewiseProcess, address: str) -> str:
    """Return the state of the server `address` of the first upstream."""
    servers = json.loads(server.admin("/api/v1/upstreams"))["upstreams"][0]["servers"]
    state: str = next(one["state"] for one in servers if one["name"] == address)
    return state


def used_only(server: EdgewiseProcess, used: Origin, unused: Origin) -> bool:
    """Do ten requests all go to `used`?"""
    before = len(unused.requests), len(used.requests)
    for _ in range(10):
        body_from(server)
    return (len(unused.requests), len(used.requests)) == (before[0], before[1] + 10)


class TestNames:
    def test_the_first_request_already_finds_the_addresses_of_a_name(self, edgewise_server, origin) -> None:
        server = edgewise_server(f'[upstreams.app]\nservers = ["localhost:{origin().port}"]\n')
        assert body_from(server) == b"ok"

    def test_a_name_that_comes_with_a_reload_is_looked_up_before_requests_go_there(self, serving, origin) -> None:
        server = serving(HELLO)
        server.write_config(f'[upstreams.app]\nservers = ["localhost:{origin().port}"]\n')
        assert post_reload(server)[0] == 200
        assert body_from(server) == b"ok"

    def test_a_name_that_has_no_address_does_not_keep_edgewise_from_serving_the_rest(self, serving) -> None:
        server = serving(HELLO + '[upstreams.app]\nservers = ["nowhere.invalid:80"]\n')
        assert body_from(server) == b"hello"
