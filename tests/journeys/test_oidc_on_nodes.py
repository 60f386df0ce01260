"""A login that two nodes share by Valkey: either serves it, one of them renews its tokens, both learn of its end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.oidc_browser import Browser, Page
from support.oidc_process import OidcProvider
from support.origin import Origin, OriginConnection
from support.state_servers import ValkeyServer

pytestmark = pytest.mark.timeout(120)  # three servers start first

TOML = """
[state]
url = "VALKEY"
[upstreams.app]
servers = ["ORIGIN"]
[oidc.staff]
issuer = "ISSUER"
client_id = "edge"
user_claim = "preferred_username"
pass_token = "X-Token"
[[routes]]
path = "/*"
upstream = "app"
auth = { oidc = "staff" }
"""


def app(connection: OriginConnection) -> None:
    """Answer with what it received."""
    while True:
        request = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request), request))


class Nodes:
    """Two nodes, and the provider that their users log in at."""

    def __init__(
        self, directory: Path, valkey: ValkeyServer, origin: Origin, provider: OidcProvider, stack: ExitStack
    ) -> None:
        self.provider = provider
        self.running: list[EdgewiseProcess] = []
        toml = TOML.replace("VALKEY", valkey.url).replace("ISSUER", provider.issuer).replace("ORIGIN", origin.address)
        ports = [(free_port(), free_port(), free_port()) for _ in range(2)]
        provider.register("edge", f"http://127.0.0.1:{ports[0][0]}")
        for number, own in enumerate(ports):
            place = directory / f"node{number}"
            place.mkdir()
            self.running.append(EdgewiseProcess(toml, place, ports=own))
            stack.callback(self.running[-1].stop)
        self.urls = [f"http://127.0.0.1:{node.port}/" for node in self.running]

    def logged_in(self, user: str) -> Browser:
        """Return the browser of a user who logged in at the first node, and has its cookie for both."""
        browser = Browser()
        assert browser.log_in(self.urls[0], user).status == 200
        first, second = (url.split("/")[2] for url in self.urls)
        browser.cookies[second] = browser.cookies[first]
        return browser

    def ask(self, browser: Browser, count: int = 1) -> list[Page]:
        """Return the answers of both nodes to so many requests each, made at the same time."""
        with ThreadPoolExecutor(2 * count) as pool:
            asking = [pool.submit(browser.ask, url, Accept="*/*") for url in self.urls for _ in range(count)]
            return [one.result() for one in asking]

    def statuses(self, browser: Browser) -> set[int]:
        return {page.status for page in self.ask(browser)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    directory = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        valkey, origin, provider = ValkeyServer(directory), Origin(app), OidcProvider(directory)
        for end in (valkey.kill, origin.stop, provider.stop):
            stack.callback(end)
        valkey.start()
        yield Nodes(directory, valkey, origin, provider, stack)


def token(page: Page) -> str:
    """Return the access token that the app got."""
    assert page.status == 200, page
    return next(line for line in page.body.split("\r\n") if line.startswith("X-Token: Bearer "))


def test_one_of_two_nodes_renews_the_tokens(nodes: Nodes) -> None:
    nodes.provider.change(ACCESS_TOKEN_EXPIRE_SECONDS=4)
    browser = nodes.logged_in("alice")
    old = token(nodes.ask(browser)[0])
    nodes.provider.change(ACCESS_TOKEN_EXPIRE_SECONDS=3600)
    before = nodes.provider.access_tokens()
    wait_until(lambda: old not in {token(page) for page in nodes.ask(browser, 8)}, "both have the new token")
    assert len({token(page) for page in nodes.ask(browser, 8)}) == 1
    assert nodes.provider.access_tokens() - before <= 1


def test_what_the_provider_says_to_one_node_ends_the_login_at_both(nodes: Nodes) -> None:
    ended, other = nodes.logged_in("bob"), nodes.logged_in("carol")
    assert nodes.statuses(ended) == nodes.statuses(other) == {200}
    page = Browser().ask(
        f"{nodes.urls[1]}oauth2/staff/backchannel-logout",
        {"logout_token": nodes.provider.logout_token("edge", "2")},
        Accept="*/*",
    )
    assert page.status == 200
    assert nodes.statuses(ended) == {401}
    assert nodes.statuses(other) == {200}
    told_twice = nodes.provider.logout_token("edge", "3")
    for url, status in zip(nodes.urls, (200, 400), strict=True):
        answer = Browser().ask(f"{url}oauth2/staff/backchannel-logout", {"logout_token": told_twice}, Accept="*/*")
        assert answer.status == status
    assert nodes.statuses(other) == {401}
