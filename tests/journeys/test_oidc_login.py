"""Logins at a real OpenID Connect provider (django-oauth-toolkit), kept by two workers of edgewise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edgewise.state.opening import Options, open_engine
from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.oidc_browser import Browser, Page
from support.oidc_process import OidcProvider
from support.origin import Origin, OriginConnection

SECRET = "a secret + of : the client"
CONNECTIONS = 12
"""So many that both workers answer some."""
pytestmark = pytest.mark.timeout(120)  # three servers start first

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[state]
url = "sqlite:state"
[upstreams.app]
servers = ["ORIGIN"]
[oidc.staff]
issuer = "ISSUER"
client_id = "edge staff"
client_secret = "SECRET"
user_claim = "preferred_username"
scopes = ["email"]
pass_token = "Authorization"
[oidc.public]
issuer = "ISSUER"
client_id = "edge-public"
user_claim = "preferred_username"
userinfo = true
require_claims = { groups = "staff" }
callback = "/signed-in"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/staff/*"
upstream = "app"
auth = { oidc = "staff" }
[[routes]]
path = "/open/*"
upstream = "app"
auth = { oidc = "staff", optional = true }
[[routes]]
path = "/both/*"
upstream = "app"
session = "required"
auth = { oidc = "staff" }
[[routes]]
path = "/public/*"
upstream = "app"
auth = { oidc = "public" }
"""


def app(connection: OriginConnection) -> None:
    """Answer with what it received."""
    while True:
        request = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request), request))


class Site:
    """An edgewise whose users log in at a provider."""

    def __init__(self, edgewise: EdgewiseProcess, provider: OidcProvider) -> None:
        self.edgewise = edgewise
        self.provider = provider
        self.url = f"http://127.0.0.1:{edgewise.port}"

    def logged_in(self, user: str = "alice", path: str = "/staff/") -> Browser:
        """Return the browser of a user who is logged in."""
        browser = Browser()
        page = browser.log_in(self.url + path, user)
        assert page.status == 200, (page, self.edgewise.access_log[-3:])
        return browser

    def statuses(self, browser: Browser, path: str = "/staff/") -> set[int]:
        """Return the statuses of many connections, so that each worker is asked; as a script would ask."""
        return {browser.ask(self.url + path, Accept="application/json").status for _ in range(CONNECTIONS)}

    def at_once(self, browser: Browser, count: int) -> list[Page]:
        """Return the answers to requests made at the same time."""
        with ThreadPoolExecutor(count) as pool:
            asking = [pool.submit(browser.ask, f"{self.url}/staff/", Accept="*/*") for _ in range(count)]
            return [one.result() for one in asking]

    def tell(self, token: str, path: str = "/oauth2/staff/backchannel-logout") -> Page:
        """Hand in a logout token as the provider does."""
        return Browser().ask(self.url + path, {"logout_token": token}, Accept="*/*")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        origin, provider = Origin(app), OidcProvider(tmp_path_factory.mktemp("provider"))
        stack.callback(origin.stop)
        stack.callback(provider.stop)
        ports = (free_port(), free_port(), free_port())
        url = f"http://127.0.0.1:{ports[0]}"
        provider.register("edge staff", url, SECRET)
        provider.register("edge-public", url, None, callback="/signed-in")
        toml = TOML.replace("ORIGIN", origin.address).replace("ISSUER", provider.issuer).replace("SECRET", SECRET)
        edgewise = EdgewiseProcess(toml, tmp_path_factory.mktemp("edgewise"), ports=ports)
        stack.callback(edgewise.stop)
        yield Site(edgewise, provider)


def sent(page: Page) -> list[str]:
    """Return the lines that the app received."""
    assert page.status == 200, page
    return page.body.partition("\r\n\r\n")[0].split("\r\n")


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def counted(directory: Path) -> int:
    """Return how many keys the embedded engine has."""
    engine = await open_engine(f"sqlite:{directory}", Options(2.0))
    try:
        return len(await engine.entries(""))
    finally:
        await engine.close()


class TestLogin:
    def test_a_browser_comes_back_to_the_page_it_wanted(self, site: Site) -> None:
        browser = Browser()
        page = browser.log_in(f"{site.url}/staff/reports?year=2026&x=%2F")
        lines = sent(page)
        assert lines[0] == "GET /staff/reports?year=2026&x=%2F HTTP/1.1"
        assert site.statuses(browser) == {200}

    def test_the_provider_is_asked_with_pkce_state_nonce_and_the_exact_redirect_uri(self, site: Site) -> None:
        page = Browser().open(f"{site.url}/staff/", until="/o/authorize")
        asked = query(page.url)
        assert asked["response_type"] == "code"
        assert asked["redirect_uri"] == f"{site.url}/oauth2/staff/callback"
        assert asked["code_challenge_method"] == "S256"
        assert asked["scope"] == "openid email"
        assert min(map(len, (asked["state"], asked["nonce"], asked["code_challenge"]))) >= 43

    def test_the_server_is_told_who_asks_and_gets_the_token_but_not_the_cookies(self, site: Site) -> None:
        browser = site.logged_in()
        browser.cookies[f"127.0.0.1:{site.edgewise.port}"]["theme"] = "dark"
        spoofed = {"X-User": "root", "X-Groups": "admins", "Authorization": "Bearer mine", "Accept": "*/*"}
        lines = sent(browser.ask(f"{site.url}/staff/", **spoofed))
        assert {"X-User: alice", "X-Groups: staff"} <= set(lines)
        tokens = [line for line in lines if line.lower().startswith("authorization:")]
        assert len(tokens) == 1
        assert tokens[0].startswith("Authorization: Bearer ")
        assert "mine" not in tokens[0]
        assert [line for line in lines if line.lower().startswith("cookie:")] == ["Cookie: theme=dark"]
        assert not any("root" in line or "admins" in line for line in lines)

    def test_scripts_and_programs_get_401_and_no_redirect(self, site: Site) -> None:
        for fields in ({"Accept": "application/json"}, {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}):
            page = Browser().ask(f"{site.url}/staff/", **fields)
            assert page.status == 401
            assert json.loads(page.body)["policy"] == "auth"
            assert page.get("WWW-Authenticate") == 'Cookie realm="staff", cookie-name="session"'
        assert Browser().ask(f"{site.url}/staff/", {"a": "b"}).status == 401

    def test_where_it_is_optional_pages_are_open_and_the_login_has_an_address(self, site: Site) -> None:
        browser = Browser()
        lines = sent(browser.open(f"{site.url}/open/"))
        assert not any(line.startswith("X-User") for line in lines)
        lines = sent(browser.log_in(f"{site.url}/oauth2/staff/login?next=/open/page"))
        assert lines[0] == "GET /open/page HTTP/1.1"
        assert "X-User: alice" in lines

    def test_routes_with_a_session_take_a_login_for_one(self, site: Site) -> None:
        browser = site.logged_in(path="/both/page")
        for _ in range(CONNECTIONS):
            lines = sent(browser.ask(f"{site.url}/both/", Accept="*/*", **{"X-User": "root"}))
            assert [line for line in lines if line.lower().startswith("x-user:")] == ["X-User: alice"]
            assert not any(line.lower().startswith("cookie:") for line in lines)

    def test_two_tabs_log_in_at_once(self, site: Site) -> None:
        browser = Browser()
        first = browser.open(f"{site.url}/staff/one", until="/o/authorize")
        second = browser.open(f"{site.url}/staff/two", until="/o/authorize")
        assert sent(browser.log_in(first.url))[0] == "GET /staff/one HTTP/1.1"
        assert sent(browser.log_in(second.url))[0] == "GET /staff/two HTTP/1.1"

    def test_a_login_gets_another_session_id(self, site: Site) -> None:
        browser = site.logged_in()
        jar = browser.cookies[f"127.0.0.1:{site.edgewise.port}"]
        old = jar["session"]
        browser.open(f"{site.url}/oauth2/staff/login")
        assert jar["session"] != old
        jar["session"] = old
        assert site.statuses(browser) == {401}

    def test_a_login_at_one_client_is_none_at_another(self, site: Site) -> None:
        browser = site.logged_in()
        assert site.statuses(browser, "/public/") == {401}

    def test_a_public_client_logs_in_by_pkce_alone_at_its_own_paths(self, site: Site) -> None:
        browser = site.logged_in(path="/public/page")
        assert any(urlsplit(page.url).path == "/signed-in" for page in browser.seen)
        lines = sent(browser.ask(f"{site.url}/public/", Accept="*/*"))
        assert "X-User: alice" in lines
        assert not any(line.lower().startswith("authorization:") for line in lines)

    def test_whose_claims_are_not_as_required_is_not_let_in(self, site: Site) -> None:
        page = Browser().log_in(f"{site.url}/public/", "bob")
        assert page.status == 403
        assert "This account may not log in here." in page.body


class TestAttacks:
    def callback(self, site: Site, browser: Browser) -> str:
        """Return the address with which the provider sends a browser back."""
        return browser.log_in(f"{site.url}/staff/", until="/oauth2/staff/callback").url

    def test_an_answer_without_a_state_or_with_a_made_up_one_is_refused(self, site: Site) -> None:
        browser = Browser()
        url = self.callback(site, browser)
        base = f"{site.url}/oauth2/staff/callback"
        code, state = query(url)["code"], query(url)["state"]
        for bad in (f"?code={code}", f"?code={code}&state={state[:-1]}x", f"?code={code}&state=", "", "?state=%ff"):
            assert browser.ask(base + bad).status == 400, bad
        assert browser.ask(url).status == 303

    def test_another_browser_cannot_use_the_answer(self, site: Site) -> None:
        victim, attacker = Browser(), Browser()
        url = self.callback(site, attacker)
        victim.open(f"{site.url}/staff/", until="/o/authorize")
        page = victim.ask(url)
        assert page.status == 400
        assert "session" not in victim.cookies[f"127.0.0.1:{site.edgewise.port}"]

    def test_an_answer_counts_once_even_with_the_cookies_of_then(self, site: Site) -> None:
        browser = Browser()
        url = self.callback(site, browser)
        jar = browser.cookies[f"127.0.0.1:{site.edgewise.port}"]
        then = dict(jar)
        assert browser.ask(url).status == 303
        assert browser.ask(url).status == 400
        jar.clear()
        jar.update(then)
        page = browser.ask(url)
        assert page.status == 400
        assert "session" not in jar

    def test_parameters_that_come_twice_are_refused(self, site: Site) -> None:
        browser = Browser()
        url = self.callback(site, browser)
        assert browser.ask(f"{url}&state=x").status == 400
        assert browser.ask(f"{url}&code=x").status == 400

    def test_the_answer_of_another_provider_is_refused(self, site: Site) -> None:
        browser = Browser()
        url = self.callback(site, browser)
        stripped = "&".join(part for part in url.split("&") if not part.startswith("iss="))
        page = browser.ask(f"{stripped}&iss=https://evil.example")
        assert page.status == 400
        assert "not that of the provider" in page.body

    def test_nothing_that_comes_with_an_answer_is_shown(self, site: Site) -> None:
        browser = Browser()
        page = browser.open(f"{site.url}/staff/", until="/o/authorize")
        state = query(page.url)["state"]
        script = "%3Cscript%3Ealert(1)%3C/script%3E"
        shown = browser.ask(
            f"{site.url}/oauth2/staff/callback?state={state}&error=access_denied&error_description={script}"
        )
        assert shown.status == 403
        assert "script" not in shown.body
        assert "The login was not allowed" in shown.body
        assert shown.get("Cache-Control") == "no-store"
        assert "frame-ancestors 'none'" in (shown.get("Content-Security-Policy") or "")

    def test_the_log_has_no_code_and_says_why_a_login_failed(self, site: Site) -> None:
        browser = Browser()
        url = self.callback(site, browser)
        browser.ask(url)
        browser.ask(url)

        def logged() -> list[dict[str, Any]]:
            return [line for line in site.edgewise.access_log if query(url)["state"] in json.dumps(line)]

        lines = wait_until(lambda: len(logged()) > 1 and logged(), "both are in the log")
        assert query(url)["code"] not in json.dumps(lines)
        said = {(line["end"], line["failure"]) for line in lines}  # each worker writes when it likes
        assert said == {("", ""), ("edge-auth", "its state is that of no login of this browser")}

    def test_a_login_leads_to_no_other_host(self, site: Site) -> None:
        browser = site.logged_in()
        evil = (
            "https://evil.example/", "//evil.example", "/%5Cevil.example", "%2F%2Fevil.example", "javascript:alert(1)",
            "/%09/evil.example", "/%0d%0aLocation:%20https://evil.example", "%5C%5Cevil.example", "/oauth2/staff/login",
        )  # fmt: skip
        for path in evil:
            page = browser.ask(f"{site.url}/oauth2/staff/login?next={path}")
            assert page.status == 303, path
            callback = browser.open(page.get("Location") or "", until="/oauth2/staff/callback")
            assert browser.ask(callback.url).get("Location") == "/", path

    def test_many_logins_begun_leave_few_cookies(self, site: Site) -> None:
        browser = Browser()
        for number in range(12):
            browser.open(f"{site.url}/staff/{number}", until="/o/authorize")
        jar = browser.cookies[f"127.0.0.1:{site.edgewise.port}"]
        assert len([name for name in jar if name.startswith("login-")]) == 5
        assert sent(browser.log_in(f"{site.url}/staff/last"))[0] == "GET /staff/last HTTP/1.1"

    def test_a_flood_of_callbacks_leaves_nothing_behind(self, site: Site) -> None:
        def keys() -> int:
            return asyncio.run(counted(site.edgewise.directory / "state"))

        browser = Browser()
        site.logged_in()
        before = keys()
        for number in range(20):
            page = browser.open(f"{site.url}/staff/", until="/o/authorize")
            answer = browser.ask(f"{site.url}/oauth2/staff/callback?state={query(page.url)['state']}&code=x{number}")
            assert answer.status == 400
        assert keys() <= before


class TestLogout:
    def test_a_page_of_the_site_logs_out_here_and_at_the_provider(self, site: Site) -> None:
        browser = site.logged_in()
        jar = browser.cookies[f"127.0.0.1:{site.edgewise.port}"]
        old = jar["session"]
        left = browser.ask(f"{site.url}/oauth2/staff/logout", **{"Sec-Fetch-Site": "same-origin"})
        page = browser.open(left.get("Location") or "")
        assert page.status == 200
        assert urlsplit(page.url).path == "/"
        told = next(seen.url for seen in browser.seen if "/o/logout/" in seen.url)
        assert query(told)["post_logout_redirect_uri"] == f"{site.url}/"
        assert query(told)["id_token_hint"].count(".") == 2
        assert "session" not in jar
        jar["session"] = old
        assert site.statuses(browser) == {401}
        del jar["session"]
        assert "csrfmiddlewaretoken" in browser.open(f"{site.url}/staff/").body

    def test_another_site_cannot_log_a_user_out(self, site: Site) -> None:
        browser = site.logged_in()
        url = f"{site.url}/oauth2/staff/logout"
        for fields in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Accept": "text/html"}):
            page = browser.ask(url, **fields)
            assert page.status == 200
            assert '<form method="post">' in page.body
            assert browser.ask(url, {}, **fields, Origin="https://evil.example").status == 403
        assert site.statuses(browser) == {200}
        page = browser.ask(url, {}, Origin=site.url)
        assert page.status == 303
        assert site.statuses(browser) == {401}


class TestBackChannelLogout:
    def sub(self, site: Site, browser: Browser) -> str:
        """Return what the provider calls the user."""
        return {"alice": "1", "bob": "2"}[
            next(line for line in sent(browser.ask(f"{site.url}/staff/", Accept="*/*")) if line.startswith("X-User: "))[
                8:
            ]
        ]

    def test_the_provider_ends_the_sessions_of_a_subject_on_every_worker(self, site: Site) -> None:
        first, second, other = site.logged_in(), site.logged_in(), site.logged_in("bob")
        assert site.statuses(first) == site.statuses(second) == site.statuses(other) == {200}
        page = site.tell(site.provider.logout_token("edge staff", self.sub(site, first)))
        assert (page.status, page.body) == (200, "")
        assert page.get("Cache-Control") == "no-store"
        assert site.statuses(first) == site.statuses(second) == {401}
        assert site.statuses(other) == {200}

    def test_a_token_counts_once(self, site: Site) -> None:
        token = site.provider.logout_token("edge staff", "77")
        assert site.tell(token).status == 200
        assert site.tell(token).status == 400

    def test_forged_tokens_end_nothing(self, site: Site) -> None:
        browser = site.logged_in("bob")
        make = site.provider.logout_token
        good = make("edge staff", "2")
        head, payload, signature = good.split(".")
        none = "eyJhbGciOiJub25lIn0"
        bad = {
            "another client": make("edge-public", "2"),
            "another issuer": make("edge staff", "2", iss="https://evil.example"),
            "no event": make("edge staff", "2", events={}),
            "a nonce": make("edge staff", "2", nonce="x"),
            "nobody": make("edge staff", None),
            "no jti": make("edge staff", "2", jti=None),
            "old": make("edge staff", "2", iat=1_700_000_000),
            "expired": make("edge staff", "2", exp=1_700_000_000),
            "to come": make("edge staff", "2", iat=4_000_000_000),
            "not signed": f"{none}.{payload}.",
            "another signature": f"{head}.{payload}.{signature[:-6]}AAAAAA",
            "no token": "x",
            "nothing": "",
        }
        for words, token in bad.items():
            assert site.tell(token).status == 400, words
        assert Browser().ask(f"{site.url}/oauth2/staff/backchannel-logout").status == 405
        assert site.statuses(browser) == {200}


class TestRefresh:
    @pytest.fixture(autouse=True)
    def _short_lived(self, site: Site) -> Iterator[None]:
        site.provider.change(ACCESS_TOKEN_EXPIRE_SECONDS=4)
        yield
        site.provider.change(ACCESS_TOKEN_EXPIRE_SECONDS=3600)

    def token(self, page: Page) -> str:
        """Return the access token that the app got."""
        return next(line for line in sent(page) if line.startswith("Authorization"))

    def test_tokens_are_renewed_by_one_request_alone(self, site: Site) -> None:
        """The provider takes a refresh token that comes twice for theft, and ends the login."""
        browser = site.logged_in("carol")  # nobody logged her out in this very second
        old = self.token(browser.ask(f"{site.url}/staff/", Accept="*/*"))
        site.provider.change(ACCESS_TOKEN_EXPIRE_SECONDS=3600)
        before = site.provider.access_tokens()
        wait_until(
            lambda: all(self.token(page) != old for page in site.at_once(browser, 16)), "everybody has the new token"
        )
        assert len({self.token(page) for page in site.at_once(browser, 16)}) == 1
        assert site.provider.access_tokens() - before <= 1

    def test_a_login_ends_when_the_provider_refuses_to_renew_it(self, site: Site) -> None:
        browser = site.logged_in("bob")
        site.provider.revoke("bob")
        wait_until(lambda: 401 in site.statuses(browser), "the login ends")
        assert site.statuses(browser) == {401}
