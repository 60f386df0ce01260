"""Signed webhooks through a real edgewise with two workers: content in any framing, once each, and not too long."""

from __future__ import annotations

import hmac
import json
import subprocess
from collections.abc import Iterator
from time import time

import pytest

from support.edgewise_process import EdgewiseProcess
from support.origin import Origin
from support.raw_http import RawResponse, post

CONFIG = """
[server]
workers = 2
admin = "off"
listen = ["127.0.0.1:$PORT"]
[state]
url = "sqlite:$DIR/state"
[signatures.github]
preset = "github"
secrets = ["GitHub's secret"]
max_body = "64KiB"
[signatures.stripe]
preset = "stripe"
secrets = ["Stripe's old secret", "Stripe's secret"]
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/github"
upstream = "app"
auth = { signature = "github" }
[[routes]]
path = "/stripe"
upstream = "app"
auth = { signature = "stripe" }
"""


class Site:
    """An edgewise before an origin."""

    def __init__(self, edge: EdgewiseProcess, origin: Origin) -> None:
        self.edge = edge
        self.origin = origin

    def send(self, path: str, content: bytes, *lines: str) -> RawResponse:
        """Post content."""
        with self.edge.client() as client:
            return client.ask(post(content, path, "example.com", *lines))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start both."""
    origin = Origin()
    edge = EdgewiseProcess(CONFIG.replace("ORIGIN", origin.address), tmp_path_factory.mktemp("webhooks"))
    yield Site(edge, origin)
    edge.stop()
    origin.stop()


def signed(content: bytes, secret: str = "GitHub's secret") -> str:
    """Return GitHub's field for some content."""
    return f"X-Hub-Signature-256: sha256={hmac.new(secret.encode(), content, 'sha256').hexdigest()}"


def test_what_github_signed_goes_on_whole_and_nothing_else_does(site: Site) -> None:
    site.origin.play(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    content = b'{"zen": "Design for failure."}' * 1000
    assert site.send("/github", content, signed(content)).status == 200
    assert site.origin.requests[0].endswith(b"\r\n\r\n" + content)
    refused = site.send("/github", content + b" ", signed(content))
    assert refused.status == 403
    assert json.loads(refused.body)["policy"] == "auth"
    assert site.send("/github", content).status == 401
    assert site.send("/github", content, signed(content, "a guess of it")).status == 403
    assert site.send("/github", b"", signed(b"")).status == 200
    assert len(site.origin.requests) == 2


def test_content_in_chunks_over_http2_and_after_100_is_verified_too(site: Site) -> None:
    site.origin.play(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    content = b"x" * 50_000
    url = f"http://127.0.0.1:{site.edge.port}/github"
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", signed(content), "--data-binary", "@-", url]
    for options in (["-H", "Transfer-Encoding: chunked"], ["--http2-prior-knowledge"], ["-H", "Expect: 100-continue"]):
        done = subprocess.run([*curl, *options], input=content, capture_output=True, timeout=60, check=False)
        assert done.stdout == b"200", done.stderr
        done = subprocess.run([*curl, *options], input=b"y" * 50_000, capture_output=True, timeout=60, check=False)
        assert done.stdout == b"403", done.stderr
    assert len(site.origin.requests) == 3


def test_more_content_than_is_gathered_is_refused(site: Site) -> None:
    content = b"x" * 70_000
    assert site.send("/github", content, signed(content)).status == 413


def test_what_stripe_signed_counts_once_on_all_workers_and_for_five_minutes(site: Site) -> None:
    site.origin.play(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    content = b'{"type": "charge.succeeded"}'

    def event(moment: int, secret: str = "Stripe's secret") -> str:
        mac = hmac.new(secret.encode(), b"%d.%b" % (moment, content), "sha256").hexdigest()
        return f"Stripe-Signature: t={moment},v1={mac}"

    now = int(time())
    statuses = [site.send("/stripe", content, event(now)).status for _ in range(8)]
    assert sorted(statuses) == [200] + [403] * 7
    assert site.send("/stripe", content, event(now, "Stripe's old secret")).status == 403
    assert site.send("/stripe", content, event(now - 1, "Stripe's old secret")).status == 200
    assert site.send("/stripe", content, event(now - 400)).status == 403
    assert len(site.origin.requests) == 2
