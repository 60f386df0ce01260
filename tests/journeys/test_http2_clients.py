"""HTTP/2 as others speak it: curl, nghttp, h2load and a browser, each through edgewise to an HTTP/1.1 origin."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.origin import Origin, OriginConnection
from support.raw_http import field_value

LARGE = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(1 << 15))
"""A mebibyte in which no byte may be lost or moved without notice."""
IMAGES = 40
IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'
PAGE = """<!doctype html><title>edgewise</title><link rel="stylesheet" href="/style.css"><p id="seen">nothing yet</p>
IMAGES
<script>
addEventListener("load", async () => {
  const answer = await fetch("/echo", {method: "POST", body: "x".repeat(100000)});
  const text = await answer.text();
  const asked = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const entries = asked.filter(entry => !entry.name.endsWith("/favicon.ico"));  // which comes when it likes
  document.getElementById("seen").textContent = JSON.stringify({
    echoed: text.length,
    loaded: [...document.images].filter(image => image.naturalWidth === 8).length,
    requests: entries.length,
    protocols: [...new Set(entries.map(entry => entry.nextHopProtocol))],
  });
});
</script>
""".replace("IMAGES", "".join(f'<img src="/images/{number}.svg">' for number in range(IMAGES)))
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
head_bytes = 65536
[tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[upstreams.app]
servers = ["{origin}"]
"""


def site(connection: OriginConnection) -> None:
    """Answer by path: a page with its parts, a mebibyte, or what was sent."""
    while True:
        head = connection.read_head()
        method, target = head.split(b" ", 2)[:2]
        kind, body = b"text/plain", b"hello"
        if target == b"/page":
            kind, body = b"text/html", PAGE.encode()
        elif target.startswith(b"/images/"):
            kind, body = b"image/svg+xml", IMAGE
        elif target == b"/style.css":
            kind, body = b"text/css", b"p { color: black }"
        elif target == b"/large":
            body = LARGE
        elif target == b"/echo":
            body = content(connection, head)
        lines = [b"HTTP/1.1 200 OK", b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
        connection.send(b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if method == b"HEAD" else body))


def content(connection: OriginConnection, head: bytes) -> bytes:
    """Read a request's content, however it is framed."""
    if (field_value(head, b"transfer-encoding") or b"").lower() == b"chunked":
        return connection.reader.chunked()[0]
    return connection.read_body(head)


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    directory = tmp_path_factory.mktemp("clients")
    origin = Origin(site)
    cert, key = DevelopmentAuthority().issue(["localhost"]).write(directory, "localhost")
    server = EdgewiseProcess(TOML.format(cert=cert, key=key, origin=origin.address), directory)
    yield server
    server.stop()
    origin.stop()
    assert not origin.errors


def run(*command: str, data: bytes | None = None, patience: float = 40) -> bytes:
    """Return what a command prints; skip the test where the program is missing, fail where it fails."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=data, capture_output=True, timeout=patience, check=False)
    assert done.returncode == 0, (command, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def curl(*options: str, data: bytes | None = None) -> tuple[str, bytes]:
    """Return "version status" and the content of curl's answer."""
    *lines, last = run("curl", "-sk", "-w", r"\n%{http_version} %{http_code}", *options, data=data).split(b"\n")
    return last.decode(), b"\n".join(lines)


@pytest.fixture(params=["h2c", "TLS"])
def base(request: pytest.FixtureRequest, edgewise: EdgewiseProcess) -> str:
    """Where to ask, by prior knowledge and by ALPN."""
    if request.param == "TLS":
        return f"https://127.0.0.1:{edgewise.tls_port}"
    return f"http://127.0.0.1:{edgewise.port}"


def test_curl_gets(base: str) -> None:
    assert curl("--http2-prior-knowledge", f"{base}/hello") == ("2 200", b"hello")


def test_curl_asks_for_the_head_only(base: str) -> None:
    version, head = curl("--http2-prior-knowledge", "-I", f"{base}/hello")
    assert version == "2 200"
    assert re.search(rb"(?i)^content-length: 5\r?$", head, re.MULTILINE)


def test_curl_negotiates_http_2_by_alpn_and_may_ask_for_http_1(edgewise: EdgewiseProcess) -> None:
    url = f"https://127.0.0.1:{edgewise.tls_port}/hello"
    assert curl("--http2", url) == ("2 200", b"hello")
    assert curl("--http1.1", url) == ("1.1 200", b"hello")


def test_an_upgrade_to_h2c_is_not_taken_and_the_request_answered(edgewise: EdgewiseProcess) -> None:
    assert curl("--http2", f"http://127.0.0.1:{edgewise.port}/hello") == ("1.1 200", b"hello")


def test_curl_downloads_a_mebibyte(base: str) -> None:
    assert curl("--http2-prior-knowledge", f"{base}/large") == ("2 200", LARGE)


def test_curl_uploads_with_a_known_length(base: str) -> None:
    options = ("--http2-prior-knowledge", "--data-binary", "@-", f"{base}/echo")
    assert curl(*options, data=LARGE) == ("2 200", LARGE)


def test_curl_uploads_without_a_length(base: str) -> None:
    options = ("--http2-prior-knowledge", "-X", "POST", "-T", "-", f"{base}/echo")
    assert curl(*options, data=LARGE) == ("2 200", LARGE)


def test_curl_multiplexes_transfers_on_one_connection(edgewise: EdgewiseProcess) -> None:
    printed = run(
        "curl", "-skZ", "--parallel-max", "50", "--http2", "-o", "/dev/null", "-w", r"%{http_code} %{num_connects}\n",
        f"https://127.0.0.1:{edgewise.tls_port}/hello?[1-200]",
    )  # fmt: skip
    answers = [line.split() for line in printed.decode().splitlines()]
    assert [status for status, _ in answers] == ["200"] * 200
    assert sum(int(connects) for _, connects in answers) < 20


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--continuation"],
        ["--padding=100"],
        ["--window-bits=8"],
        ["--window-bits=30", "--connection-window-bits=30"],
        ["--header-table-size=0"],
        ["--header-table-size=65536", "--encoder-header-table-size=0"],
        ["--no-dep"],
        ["--max-concurrent-streams=1"],
        ["-H", "cookie: a=1; b=2"],
    ],
    ids=" ".join,
)
def test_nghttp_gets_with(options: list[str], base: str) -> None:
    assert run("nghttp", "--no-verify-peer", *options, f"{base}/large") == LARGE


@pytest.mark.parametrize("options", [[], ["--expect-continue"], ["--trailer=x-sum: 1"]], ids=" ".join)
def test_nghttp_uploads_with(options: list[str], base: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(LARGE)
    command = ["nghttp", "--no-verify-peer", *options, "-d", str(tmp_path / "body"), f"{base}/echo"]
    assert run(*command) == LARGE


@pytest.mark.parametrize("path", ["hello", "large"])
def test_h2load_loses_nothing(path: str, base: str) -> None:
    total = 2000 if path == "hello" else 100
    printed = run("h2load", f"-n{total}", "-c10", "-m20", f"{base}/{path}").decode()
    assert "Application protocol: h2" in printed
    assert f"{total} succeeded, 0 failed, 0 errored, 0 timeout" in printed
    assert f"status codes: {total} 2xx" in printed


def test_h2load_posts(base: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(LARGE[:3000])
    printed = run("h2load", "-n1000", "-c10", "-m20", "-d", str(tmp_path / "body"), f"{base}/echo").decode()
    assert "status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx" in printed
    assert "(3000000) data" in printed


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_browser_loads_a_page_and_its_parts_over_http_2(edgewise: EdgewiseProcess, tmp_path: Path) -> None:
    printed = run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--ignore-certificate-errors", f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom",
        f"https://127.0.0.1:{edgewise.tls_port}/page",
        patience=100,
    )  # fmt: skip
    found = re.search(rb'<p id="seen">(.*?)</p>', printed)
    assert found, printed[:2000]
    seen = json.loads(found[1])
    # The page, its style, its images and the POST.
    assert seen == {"echoed": 100_000, "loaded": IMAGES, "requests": IMAGES + 3, "protocols": ["h2"]}
