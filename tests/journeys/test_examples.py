"""The examples do what they say."""

from __future__ import annotations

import re
import runpy
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import COMMAND, EdgewiseProcess, free_port, wait_for_port
from support.raw_http import ClosedEarly, RawClient, get

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> str:
    """Return an example's configuration for EdgewiseProcess: its ports become free ones, its files are found."""
    text = (EXAMPLES / name / "edgewise.toml").read_text()
    text = text.replace("127.0.0.1:8080", "127.0.0.1:$PORT").replace("127.0.0.1:8443", "127.0.0.1:$TLS_PORT")
    return text.replace("[server]\n", '[server]\nadmin = "off"\nworkers = 1\n')


@pytest.mark.slow
def test_the_quickstart_answers_every_line_it_prints() -> None:
    command = [sys.executable, str(EXAMPLES / "quickstart" / "run.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in EXAMPLES.glob("*/edgewise.toml")))
def test_every_configuration_passes_edgewise_check(folder: str, tmp_path: Path) -> None:
    place = tmp_path / folder
    shutil.copytree(EXAMPLES / folder, place)
    if folder == "tls-mtls":
        runpy.run_path(str(place / "make_certificates.py"))["main"](place)
    result = subprocess.run(
        [COMMAND, "check", "-c", "edgewise.toml"], cwd=place, capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_example_filters_work_on_real_requests(edgewise_server, origin) -> None:
    app = origin()
    text = example("filters").replace("127.0.0.1:9001", app.address)
    edgewise = edgewise_server(text, env={"PYTHONPATH": str(EXAMPLES / "filters")})
    with edgewise.client() as client:
        assert client.ask(get("/", "a", "User-Agent: BadBot/1.0")).status == 403
        reply = client.ask(get("/", "a", "User-Agent: Mozilla/5.0"))
    assert (reply.status, reply.get("X-Content-Type-Options")) == (200, "nosniff")
    assert [b"X-Checked: yes" in request for request in app.requests] == [True]


def test_the_canary_takes_its_share_and_the_testers(edgewise_server, origin) -> None:
    stable, canary = origin(), origin()
    text = example("canary").replace("127.0.0.1:9101", canary.address)
    text = text.replace('"127.0.0.1:9001", "127.0.0.1:9002"', f'"{stable.address}"')
    text = "\n".join(line for line in text.splitlines() if not line.startswith("health"))
    edgewise = edgewise_server(text)
    with edgewise.client() as client:
        for _ in range(20):
            client.ask(get("/", "a", "X-Canary: always"))
        assert (len(stable.requests), len(canary.requests)) == (0, 20)
        for _ in range(400):
            client.ask(get("/"))
    assert 0 < len(canary.requests) - 20 < 100
    assert len(stable.requests) > 300


@pytest.fixture(scope="module")
def tls_example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    directory = tmp_path_factory.mktemp("tls")
    runpy.run_path(str(EXAMPLES / "tls-mtls" / "make_certificates.py"))["main"](directory)
    edgewise = EdgewiseProcess(example("tls-mtls"), directory)
    yield edgewise
    edgewise.stop()


class TestTls:
    def client(self, edgewise: EdgewiseProcess, host: str, *, certificate: bool) -> RawClient:
        context = ssl.create_default_context(cafile=str(edgewise.directory / "authority.pem"))
        if certificate:
            context.load_cert_chain(edgewise.directory / "alice.pem", edgewise.directory / "alice.key")
        return RawClient(("127.0.0.1", edgewise.tls_port), tls=context, server_name=host)

    def test_each_host_shows_its_own_certificate(self, tls_example: EdgewiseProcess) -> None:
        with self.client(tls_example, "shop.localhost", certificate=False) as client:
            assert client.ask(get("/", "shop.localhost")).body == b"the shop is open to all\n"

    def test_a_client_certificate_opens_the_internal_host(self, tls_example: EdgewiseProcess) -> None:
        with self.client(tls_example, "internal.localhost", certificate=True) as client:
            assert client.ask(get("/", "internal.localhost")).body == b"you have a certificate\n"

    def test_without_a_client_certificate_the_internal_host_is_closed(self, tls_example: EdgewiseProcess) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError, ClosedEarly)):  # noqa: SIM117 (the failure may come at the handshake or at the first read)
            with self.client(tls_example, "internal.localhost", certificate=False) as client:
                client.ask(get("/", "internal.localhost"))

    def test_a_connection_made_for_the_open_host_does_not_reach_the_internal_one(
        self, tls_example: EdgewiseProcess
    ) -> None:
        with self.client(tls_example, "shop.localhost", certificate=False) as client:
            assert client.ask(get("/", "internal.localhost")).status == 421

    def test_plain_http_does_not_reach_the_internal_host(self, tls_example: EdgewiseProcess) -> None:
        with tls_example.client() as client:
            assert client.ask(get("/", "internal.localhost")).status == 421
        with tls_example.client() as client:
            assert client.ask(get("/", "shop.localhost")).status == 200


@pytest.mark.parametrize(("module", "protocol"), [("hello_asgi", b"ASGI"), ("hello_wsgi", b"WSGI")])
def test_edgewise_runs_the_example_apps(module: str, protocol: bytes, tmp_path: Path) -> None:
    port = free_port()
    command = [COMMAND, "app", f"{module}:app", "--processes", "2", "--listen", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=EXAMPLES / "apps", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            assert wait_for_port(port, lambda: process.poll() is None), (tmp_path / "log").read_text()
            answers = set()
            for _ in range(8):
                with RawClient(("127.0.0.1", port)) as client:
                    answers.add(client.ask(get("/", close=True)).body)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    assert all(answer.startswith(b"hello over " + protocol) for answer in answers), (tmp_path / "log").read_text()
    assert len(answers) == 2


def test_the_readmes_configuration_passes_edgewise_check(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(), flags=re.DOTALL)
    runpy.run_path(str(EXAMPLES / "tls-mtls" / "make_certificates.py"))["main"](tmp_path)
    (tmp_path / "shop").mkdir()
    shutil.copy(EXAMPLES / "filters" / "shop_filters.py", tmp_path / "shop" / "filters.py")
    (tmp_path / "edgewise.toml").write_text(text.replace("/var/log/edgewise/", ""))
    result = subprocess.run([COMMAND, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stdout + result.stderr
