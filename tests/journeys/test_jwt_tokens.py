"""Tokens of others at a running edgewise with two workers: who comes in, what refusals say, keys that come and go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgewise.protocols.jose import base64url
from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.http2_raw import Http2Client, request_fields
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, get
from support.token_issuer import AUDIENCE, KeyServer, make_key, mint

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
drain_timeout = "1s"
[upstreams.app]
servers = ["ORIGIN"]
[jwt.main]
issuer = "ISSUER"
audience = "AUDIENCE"
jwks = "KEYS"
realm = "shop"
consumer_claim = "azp"
[jwt.found]
issuer = "ISSUER"
any_audience = true
discovery = true
[jwt.file]
issuer = "https://file.example"
audience = "AUDIENCE"
key_files = ["$DIR/key.pem"]
realm = "shop"
require = ["tenant"]
hide = true
[jwt.set]
issuer = "https://set.example"
audience = "AUDIENCE"
jwks = "$DIR/keys.json"
[jwt.secret]
issuer = "https://secret.example"
audience = "AUDIENCE"
secret_file = "$DIR/secret"
algorithms = ["HS512"]
[jwt.down]
issuer = "https://down.example"
audience = "AUDIENCE"
jwks = "http://127.0.0.1:CLOSED/jwks"
[jwt.places]
issuer = "ISSUER"
audience = "AUDIENCE"
jwks = "KEYS"
header = "X-Token"
cookie = "token"
query = "ticket"
[[routes]]
path = "/main/*"
upstream = "app"
auth = { jwt = "main" }
[[routes]]
path = "/optional/*"
upstream = "app"
auth = { jwt = "main", optional = true }
[[routes]]
path = "/found/*"
upstream = "app"
auth = { jwt = "found" }
[[routes]]
path = "/file/*"
upstream = "app"
auth = { jwt = "file" }
[[routes]]
path = "/several/*"
upstream = "app"
auth = { jwt = ["set", "secret"] }
[[routes]]
path = "/down/*"
upstream = "app"
auth = { jwt = "down" }
[[routes]]
path = "/places/*"
upstream = "app"
auth = { jwt = "places" }
"""
KEY, NEW = make_key("RSA", "first"), make_key("P-256", "second")
FILE, SET, SECRET = make_key("Ed25519"), make_key("P-384", "set"), make_key("oct")
CONNECTIONS = 12
"""So many that both workers answer some."""


class Site(NamedTuple):
    """An edgewise and the issuer whose tokens it accepts."""

    edgewise: EdgewiseProcess
    keys: KeyServer

    def ask(self, path: str, *lines: str) -> RawResponse:
        with self.edgewise.client() as client:
            return client.ask(get(path, "shop.example", *lines))

    def bearer(self, path: str, token: bytes, *lines: str) -> RawResponse:
        return self.ask(path, f"Authorization: Bearer {token.decode()}", *lines)

    def token(self, **changes: object) -> bytes:
        return mint(KEY, "RS256", **{"iss": self.keys.issuer, "azp": "web", **changes})

    def statuses(self, path: str, token: bytes) -> set[int]:
        """Return the statuses of many connections, so that each worker is asked."""
        return {self.bearer(path, token).status for _ in range(CONNECTIONS)}


def app(connection: OriginConnection) -> None:
    """Answers with what it received."""
    while True:
        request = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request), request))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory: Path = tmp_path_factory.mktemp("jwt")
    (directory / "key.pem").write_bytes(FILE.as_pem(private=False))
    (directory / "keys.json").write_text(json.dumps({"keys": [SET.as_dict(private=False)]}))
    (directory / "secret").write_bytes(SECRET.raw_value + b"\n")
    keys, origin = KeyServer(KEY), Origin(app)
    toml = TOML.replace("ORIGIN", origin.address).replace("ISSUER", keys.issuer).replace("KEYS", keys.url)
    toml = toml.replace("AUDIENCE", AUDIENCE).replace("CLOSED", str(free_port()))
    edgewise = EdgewiseProcess(toml, directory)
    yield Site(edgewise, keys)
    edgewise.stop()
    keys.stop()
    origin.stop()
    assert "Traceback" not in edgewise.log, edgewise.log


def refused(answer: RawResponse, status: int, *challenges: str) -> str:
    """Check a refusal; return what it says."""
    assert answer.status == status, answer
    assert answer.get("Content-Type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["policy"]) == (status, "auth")
    assert answer.all("WWW-Authenticate") == list(challenges)
    return str(problem["detail"])


def invalid(text: str, realm: str = "shop", error: str = "invalid_token") -> str:
    return f'Bearer realm="{realm}", error="{error}", error_description="{text}"'


# ---- who comes in ----------------------------------------------------------------------------------------------------


def test_a_good_token_tells_upstreams_who_asks(site: Site) -> None:
    answer = site.bearer("/main/", site.token(scope="read", groups=["staff"]), "X-User: root", "X-Consumer: root")
    assert answer.status == 200
    lines = answer.body.decode().split("\r\n")
    assert [line for line in lines if line.lower().startswith("x-user:")] == ["X-User: alice"]
    assert [line for line in lines if line.lower().startswith("x-consumer:")] == ["X-Consumer: web"]
    assert "X-Groups: staff" in lines
    assert "X-Scopes: read" in lines
    assert "X-Auth-Method: jwt" in lines
    assert any(line.startswith("Authorization: Bearer ") for line in lines)


def test_the_issuer_is_asked_once_by_each_worker_and_not_for_each_request(site: Site) -> None:
    assert site.statuses("/main/", site.token(jti="a")) == {200}
    before = site.keys.asked
    for number in range(5):
        assert site.statuses("/main/", site.token(jti=str(number))) == {200}
    assert site.keys.asked == before


def test_keys_are_rotated_without_a_failed_request(site: Site) -> None:
    new = mint(NEW, "ES256", iss=site.keys.issuer, azp="web")
    wait_until(lambda: time.monotonic() > site.keys.last_asked + 1.0, "the issuer may be asked again")
    site.keys.keys = (KEY, NEW)
    assert site.statuses("/main/", new) == {200}
    assert site.statuses("/main/", site.token(jti="rotated")) == {200}


def test_keys_are_found_by_discovery_in_files_and_among_several_issuers(site: Site) -> None:
    assert site.statuses("/found/", site.token(aud=None)) == {200}
    file = mint(FILE, "EdDSA", iss="https://file.example", tenant="a")
    hidden = site.bearer("/file/", file)
    assert hidden.status == 200
    assert b"authorization" not in hidden.body.lower()
    assert site.bearer("/several/", mint(SET, "ES384", iss="https://set.example")).status == 200
    assert site.bearer("/several/", mint(SECRET, "HS512", iss="https://secret.example")).status == 200
    for crossed in (mint(SECRET, "HS512", iss="https://set.example"), mint(SET, "ES384", iss="https://secret.example")):
        refused(
            site.bearer("/several/", crossed),
            401,
            invalid("The token is signed by an algorithm that is not accepted.", "edgewise"),
        )


def test_tokens_come_over_http2_and_beside_cookies_as_well(site: Site) -> None:
    token = site.token(jti="h2").decode()
    with Http2Client(("127.0.0.1", site.edgewise.port)) as client:
        for name, value in (("authorization", f"Bearer {token}"), ("authorization", f"bearer {token}")):
            stream = client.request(request_fields("/main/", "GET", (name, value), ("cookie", "theme=dark")))
            assert client.answer(stream).status == 200
        stream = client.request(request_fields("/main/", "GET", ("authorization", "Bearer e30.e30.AAAA")))
        answer = client.answer(stream)
        assert answer.status == 401
        assert (answer.get("www-authenticate") or "").startswith('Bearer realm="shop", error="invalid_token"')
    for _ in range(3):
        assert site.bearer("/main/", token.encode(), "Cookie: theme=dark").status == 200
        assert site.ask("/main/", "Cookie: theme=dark", f"authorization: BEARER {token}").status == 200


def test_tokens_are_taken_from_other_places_where_the_configuration_says_so(site: Site) -> None:
    token = site.token(jti="places").decode()
    assert site.ask("/places/", f"X-Token: {token}").status == 200
    assert site.ask("/places/", f"Cookie: theme=dark; token={token}").status == 200
    assert site.ask(f"/places/?a=b&ticket={token}").status == 200
    wait_until(lambda: any(line["path"] == "/places/" for line in site.edgewise.access_log), "it is in the log")
    assert token not in (site.edgewise.directory / "access.log").read_text()
    assert site.bearer("/places/", token.encode()).status == 401
    assert site.ask(f"/main/?ticket={token}", f"Cookie: token={token}").status == 401


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_without_a_token_there_is_a_challenge_and_no_error(site: Site) -> None:
    """RFC 6750 section 3.1: no error code where the request has no authentication information."""
    for lines in ((), ("Authorization: Basic YTpi",), ("Authorization: Bearer2 x",)):
        assert refused(site.ask("/main/", *lines), 401, 'Bearer realm="shop"') == "The request has no credentials."
    assert site.ask("/optional/").status == 200


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"exp": 1}, "The token has expired."),
        ({"exp": None}, "The token has no end (exp) that is a number of seconds."),
        ({"nbf": 2**40}, "The token is not valid yet."),
        ({"iss": "https://evil.example"}, "The token is of another issuer."),
        ({"aud": "https://other.example"}, "The token is for another audience."),
        ({"azp": None}, "The token does not say which consumer's it is."),
        ({"sub": None}, "The token does not say whose it is."),
        ({"junk": "x" * 9000}, "The token is too long."),
    ],
)
def test_a_token_that_is_not_good_is_told_why(site: Site, changes: dict[str, object], text: str) -> None:
    token = site.token(**changes)
    for path in ("/main/", "/optional/"):
        assert refused(site.bearer(path, token), 401, invalid(text)) == text


def test_forged_tokens_come_in_nowhere(site: Site) -> None:
    token = site.token(jti="forged")
    head, payload, code = token.split(b".")
    forged = make_key("RSA", "first")
    for other in (
        mint(forged, "RS256", iss=site.keys.issuer, azp="web"),
        b"eyJhbGciOiJub25lIn0." + payload + b".",
        b"eyJhbGciOiJub25lIn0." + payload + b"." + code,
        head + b"." + payload + b".",
        head + b"." + payload,
        token + b".AAAA",
        token[:-2],
        b"x",
        mint(make_key("oct", "first"), "HS256", iss=site.keys.issuer, azp="web"),
        mint(make_key("P-256", "../../etc/passwd"), "ES256", iss=site.keys.issuer, azp="web"),
    ):
        answer = site.bearer("/main/", other)
        assert answer.status == 401
        assert 'error="invalid_token"' in (answer.get("WWW-Authenticate") or "")


def test_two_tokens_at_once_are_a_bad_request(site: Site) -> None:
    token = site.token(jti="two").decode()
    several = "The request has more than one token."
    for lines in (
        (f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"),
        (f"Authorization: Bearer {token}", "Authorization: Basic YTpi"),
        (f"authorization: Bearer {token}", f"Authorization: Bearer {token}"),
        ("Cookie: a=b", f"Authorization: Bearer {token}", f"AUTHORIZATION: Bearer {token}"),
    ):
        assert refused(site.ask("/main/", *lines), 400, invalid(several, error="invalid_request")) == several
    for path, *lines in (
        (f"/places/?ticket={token}", f"X-Token: {token}"),
        (f"/places/?ticket={token}&ticket={token}",),
        ("/places/", f"Cookie: token={token}; token={token}"),
        ("/places/", f"Cookie: token={token}", f"X-Token: {token}"),
    ):
        refused(site.ask(path, *lines), 400, invalid(several, "edgewise", "invalid_request"))
    none = "The Authorization field has no bearer token."
    for value in ("Bearer", "bearer ", f"Bearer {token} {token}", f"Bearer {token} x=y"):
        refused(site.ask("/main/", f"Authorization: {value}"), 400, invalid(none, error="invalid_request"))


def test_an_issuer_that_never_told_its_keys_is_no_fault_of_the_client(site: Site) -> None:
    token = mint(make_key("RSA"), "RS256", iss="https://down.example")
    for _ in range(CONNECTIONS):
        answer = site.bearer("/down/", token)
        assert refused(answer, 503) == "The token cannot be verified at the moment."
        assert 1 <= int(answer.get("Retry-After") or "") <= 60
    wait_until(lambda: "out of reach" in site.edgewise.log, "the log says what is wrong")
    assert site.bearer("/down/", b"x").status == 401


def test_a_refusal_is_counted_and_logged_without_the_token(site: Site) -> None:
    site.ask("/main/logged", "Authorization: Bearer e30.e30.SECRET")
    (line,) = wait_until(
        lambda: [line for line in site.edgewise.access_log if line["path"] == "/main/logged"], "it is in the log"
    )
    assert (line["status"], line["end"]) == (401, "edge-auth")
    assert "SECRET" not in (site.edgewise.directory / "access.log").read_text() + site.edgewise.log
    metrics = site.edgewise.admin("/metrics").decode()
    assert 'edgewise_policy_refusals_total{http_route="*/main/*",policy="auth"}' in metrics


# ---- the keys of the issuer: last, as it is asked for unknown ones once in a while ----------------------------------


def test_a_flood_of_unknown_keys_is_no_flood_of_questions(site: Site) -> None:
    before = site.keys.asked
    with site.edgewise.client() as client:
        for number in range(300):
            head = json.dumps({"alg": "RS256", "kid": f"unknown-{number}"}).encode()
            token = b"%b.e30.AAAA" % base64url(head)
            line = f"Authorization: Bearer {token.decode()}"
            assert client.ask(get("/main/", "shop.example", line)).status == 401
    assert site.keys.asked <= before + 2
    assert site.bearer("/main/", site.token(jti="flood")).status == 200


def test_while_the_issuer_is_down_its_keys_are_used_on(site: Site) -> None:
    site.keys.status = 503
    unknown = mint(make_key("RSA", "third"), "RS256", iss=site.keys.issuer, azp="web")
    assert site.statuses("/main/", unknown) == {401}
    assert site.statuses("/main/", site.token(jti="down")) == {200}
    site.keys.status = 200


def test_what_is_remembered_goes_on_over_a_reload_and_new_rules_hold_after_it(site: Site) -> None:
    token = site.token(jti="reload")
    assert site.statuses("/main/", token) == {200}
    before = site.keys.asked
    text = site.edgewise.config.read_text()
    site.edgewise.config.write_text(text.replace(f'audience = "{AUDIENCE}"\njwks', 'audience = "new"\njwks', 1))
    site.edgewise.reload()
    wait_until(lambda: site.statuses("/main/", token) == {401}, "the new audience holds")
    assert site.statuses("/main/", site.token(aud=["new"])) == {200}
    assert site.keys.asked == before
    site.edgewise.config.write_text(text)
    site.edgewise.reload()
    wait_until(lambda: site.statuses("/main/", token) == {200}, "the old one holds again")
