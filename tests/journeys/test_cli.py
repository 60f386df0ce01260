"""The `edgewise` command as its user meets it: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise import __version__, build
from support.edgewise_process import COMMAND, EdgewiseProcess, free_port, wait_until
from support.raw_http import RawClient, get

Run = Callable[..., "subprocess.CompletedProcess[str]"]
GOOD = '[[routes]]\npath = "/shop/*"\nrespond = { body = "hello" }\n'
BAD = '[server]\nlisten = ["127.0.0.1:99999"]\n[upstreams.shop]\nserver = ["127.0.0.1:9001"]\n'


@pytest.fixture
def edgewise(tmp_path: Path) -> Run:
    """Run the command in an empty directory."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert "Traceback" not in ended.stderr
        return ended

    return run


class TestHelp:
    def test_every_command_is_listed_with_what_it_does(self, edgewise: Run) -> None:
        text = edgewise("--help").stdout
        for name in ("run", "proxy", "app", "check", "explain", "reload", "status", "drain"):
            assert f"\n  {name} " in text

    def test_the_version_is_printed_and_whether_it_is_compiled(self, edgewise: Run) -> None:
        assert edgewise("--version").stdout == f"edgewise {__version__}, {build()}\n"

    def test_a_command_that_does_not_exist_names_the_nearest(self, edgewise: Run) -> None:
        ended = edgewise("relaod")
        assert ended.returncode == 2
        assert "Did you mean 'reload'?" in ended.stderr

    def test_help_imports_neither_the_configuration_nor_the_server(self) -> None:
        code = (
            "import sys; from edgewise.cli.main import edgewise\n"
            "try: edgewise(['--help'])\n"
            "except SystemExit: pass\n"
            "print([name for name in ('pydantic', 'uvloop', 'starlette', 'uvicorn', 'ssl', 'asyncio') "
            "if name in sys.modules])"
        )
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert printed.endswith("[]\n")


class TestCheck:
    def test_a_valid_file_is_exit_status_0(self, edgewise: Run, tmp_path: Path) -> None:
        (tmp_path / "edgewise.toml").write_text(GOOD)
        ended = edgewise("check")
        assert (ended.returncode, ended.stdout) == (0, "edgewise.toml is valid: 1 route\n")

    def test_every_error_is_a_line_with_its_place_and_exit_status_1(self, edgewise: Run, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text(BAD)
        ended = edgewise("check", "-c", "bad.toml")
        lines = ended.stderr.splitlines()
        assert ended.returncode == 1
        assert any(line.startswith("bad.toml:2: server.listen[0]: ") for line in lines)
        assert any(line.startswith("bad.toml:4: upstreams.shop.server: ") and '"servers"' in line for line in lines)

    def test_problems_as_json(self, edgewise: Run, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text(BAD)
        ended = edgewise("check", "-c", "bad.toml", "--format", "json")
        content = json.loads(ended.stdout)
        assert (ended.returncode, content["ok"]) == (1, False)
        assert {2, 4} <= {problem["line"] for problem in content["problems"]}

    def test_without_a_file_the_way_on_is_named(self, edgewise: Run) -> None:
        ended = edgewise("check")
        assert ended.returncode == 1
        assert "no edgewise.toml here: name a file with -c" in ended.stderr

    def test_a_file_that_does_not_exist_is_named(self, edgewise: Run) -> None:
        ended = edgewise("run", "-c", "missing.toml")
        assert (ended.returncode, ended.stderr) == (1, "Error: no such file: missing.toml\n")


class TestExplain:
    def test_the_matching_route_is_named(self, edgewise: Run, tmp_path: Path) -> None:
        (tmp_path / "edgewise.toml").write_text(GOOD)
        ended = edgewise("explain", "get", "http://example.com/shop/cart", "-H", "Accept: text/html")
        assert ended.returncode == 0
        assert "/shop/*" in ended.stdout

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("GET", "example.com/shop"), "not a URL"),
            (("GET", "/shop/", "-H", "no colon"), "write 'Name: value'"),
        ],
    )
    def test_what_is_no_request_is_refused(
        self, edgewise: Run, tmp_path: Path, arguments: tuple[str, ...], expected: str
    ) -> None:
        (tmp_path / "edgewise.toml").write_text(GOOD)
        ended = edgewise("explain", *arguments)
        assert ended.returncode == 2
        assert expected in ended.stderr


class TestOperating:
    @pytest.fixture
    def server(self, edgewise_server: Callable[..., EdgewiseProcess]) -> EdgewiseProcess:
        server = edgewise_server('[upstreams.shop]\nservers = ["127.0.0.1:9"]\n')
        wait_until(lambda: "admin on" in server.log, "all processes serve")
        return server

    def test_status_shows_workers_routes_and_servers(self, edgewise: Run, server: EdgewiseProcess) -> None:
        text = edgewise("status", "-c", str(server.config)).stdout
        assert "generation 1, ready" in text
        assert "upstream shop (round_robin)" in text
        assert "127.0.0.1:9" in text

    def test_status_as_json(self, edgewise: Run, server: EdgewiseProcess) -> None:
        content = json.loads(edgewise("status", "--json", "--admin", f"127.0.0.1:{server.admin_port}").stdout)
        assert content["generation"] == 1
        assert content["upstreams"][0]["servers"][0]["name"] == "127.0.0.1:9"

    def test_reload_says_which_generation_runs(self, edgewise: Run, server: EdgewiseProcess) -> None:
        assert edgewise("reload", "-c", str(server.config)).stdout == "generation 2 runs\n"

    def test_a_refused_reload_shows_each_problem_even_though_the_file_is_bad(
        self, edgewise: Run, server: EdgewiseProcess
    ) -> None:
        server.write_config('[upstreams.shop]\nserver = ["127.0.0.1:9"]\n')
        ended = edgewise("reload", "-c", str(server.config))
        assert ended.returncode == 1
        assert f"{server.config}:" in ended.stderr
        assert 'did you mean "servers"?' in ended.stderr

    def test_a_server_is_drained_and_taken_back(self, edgewise: Run, server: EdgewiseProcess) -> None:
        admin = ("--admin", f"127.0.0.1:{server.admin_port}")
        assert edgewise("drain", "shop/127.0.0.1:9", *admin).stdout == "shop/127.0.0.1:9 takes no new requests\n"
        assert "drained by the operator" in edgewise("status", *admin).stdout
        assert edgewise("drain", "--undo", "shop/127.0.0.1:9", *admin).stdout.endswith("takes requests again\n")
        assert "drained by the operator" not in edgewise("status", *admin).stdout

    def test_a_server_that_does_not_exist_cannot_be_drained(self, edgewise: Run, server: EdgewiseProcess) -> None:
        ended = edgewise("drain", "shop/127.0.0.1:10", "--admin", f"127.0.0.1:{server.admin_port}")
        assert (ended.returncode, ended.stderr) == (1, "Error: no server shop/127.0.0.1:10\n")

    def test_the_admin_address_may_be_a_unix_socket(
        self, edgewise: Run, edgewise_server: Callable[..., EdgewiseProcess], tmp_path: Path
    ) -> None:
        path = tmp_path / "admin.sock"
        server = edgewise_server(f'[server]\nlisten = ["127.0.0.1:$PORT"]\nworkers = 1\nadmin = "unix:{path}"\n' + GOOD)
        wait_until(lambda: "admin on" in server.log, "all processes serve")
        assert "generation 1" in edgewise("status", "-c", str(server.config)).stdout

    def test_without_a_running_edgewise_that_is_said(self, edgewise: Run) -> None:
        ended = edgewise("status", "--admin", f"127.0.0.1:{free_port()}")
        assert ended.returncode == 1
        assert "is it running?" in ended.stderr


class TestProxy:
    def test_one_command_puts_edgewise_before_servers(self, origin, tmp_path: Path) -> None:
        one, two, port = origin(), origin(), free_port()
        process = subprocess.Popen(
            [COMMAND, "proxy", "--to", one.address, "--to", two.address, "--listen", f"127.0.0.1:{port}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"listening on http://127.0.0.1:{port}\n"
            for _ in range(8):
                with RawClient(("127.0.0.1", port)) as client:
                    assert client.ask(get()).body == b"ok"
            process.terminate()
        assert process.returncode == 0
        assert one.requests
        assert two.requests

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ((), "Missing option '--to'"),
            (("--to", "http://127.0.0.1:8000"), "is a URL, not an address"),
            (("--to", "127.0.0.1:8000", "--balance", "magic"), "'magic' is not one of"),
        ],
    )
    def test_mistakes_are_named(self, edgewise: Run, arguments: tuple[str, ...], expected: str) -> None:
        ended = edgewise("proxy", *arguments)
        assert ended.returncode != 0
        assert expected in ended.stderr
