"""Every policy's refusals, word for word (tests/golden/refusals.txt): what clients get, whichever way they are refused.

UPDATE_GOLDEN=1 writes the text anew; read the difference before you commit it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.contracts.policies import POLICIES
from edgewise.http.statuses import reason
from support.compiled_protos import descriptor_set
from support.edgewise_process import EdgewiseProcess, free_port
from support.http2_raw import Http2Client, request_fields
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawResponse, get, post
from support.token_issuer import AUDIENCE, ISSUER, make_key, mint

GOLDEN = Path(__file__).parents[1] / "golden" / "refusals.txt"
REFUSING = frozenset(POLICIES) - {"rate-limit-dry-run"}
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[state]
url = "sqlite:state"
[consumers.alice]
api_keys = ["key-of-alice-0123456789"]
scopes = ["read"]
[jwt.main]
issuer = "https://login.example"
audience = "https://api.example"
key_files = ["$DIR/key.pem"]
realm = "shop"
[jwt.down]
issuer = "https://down.example"
audience = "https://api.example"
jwks = "http://127.0.0.1:CLOSED/jwks"
[signatures.github]
preset = "github"
secrets = ["GitHub's secret"]
max_body = 64
[upstreams.app]
servers = ["ORIGIN"]
[upstreams.nobody]
servers = ["127.0.0.1:CLOSED"]
[upstreams.calls]
servers = ["127.0.0.1:CLOSED"]
protocol = "h2c"
"""
ROUTES = {
    "/maintenance": 'maintenance = { message = "Back at noon." }',
    "/ip": 'ip = { deny = ["127.0.0.0/8"] }',
    "/cors": 'cors = { origins = ["https://app.example"] }',
    "/rate": 'rate_limit = { rate = "1/h" }',
    "/quota": 'auth = { api_keys = "consumers" }\nrate_limit = { rate = "1/h", by = "consumer" }',
    "/busy": "concurrency = { limit = 1 }",
    "/key": 'auth = { api_keys = "consumers" }',
    "/basic": 'auth = { basic = "consumers" }',
    "/token": 'auth = { jwt = "main" }',
    "/down": 'auth = { jwt = "down" }',
    "/signed": 'auth = { signature = "github" }',
    "/forward": 'auth = { forward = { upstream = "nobody", path = "/verify" } }',
    "/any": 'auth = { api_keys = "consumers", jwt = "main" }',
    "/scope": 'auth = { api_keys = "consumers", jwt = "main", optional = true }\nauthorize = { scopes = ["write"] }',
    "/group": 'auth = { api_keys = "consumers" }\nauthorize = { groups = ["admin"] }',
    "/idempotent": 'idempotency = { required = true, most_request = "64B" }',
    "/json": 'transform = { request = { body = { set = { "/a" = 1 }, most = 64 } } }',
}
CALLS = """
[[routes]]
path = "/v1/*"
upstream = "calls"
transcode = { descriptors = "api.binpb" }
"""
WITHOUT_SCHEME = frozenset(("auth: no signature",))
"""There is no scheme of HTTP by which these could be asked for."""
KEY = make_key("Ed25519", "first")
ALICE = "X-API-Key: key-of-alice-0123456789"


class Site:
    """An edgewise with a route for each policy, and an origin that holds back what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.held, self.release = threading.Event(), threading.Event()
        self.origin = Origin(self._serve)
        (directory / "key.pem").write_bytes(KEY.as_pem(private=False))
        (directory / "api.binpb").write_bytes(descriptor_set())
        routes = [f'[[routes]]\npath = "{path}"\nupstream = "app"\n{policy}\n' for path, policy in ROUTES.items()]
        toml = TOML.replace("ORIGIN", self.origin.address).replace("CLOSED", str(free_port()))
        self.edgewise = EdgewiseProcess(toml + "".join(routes) + CALLS, directory)

    def _serve(self, connection: OriginConnection) -> None:
        while True:
            if connection.read_request().startswith(b"GET /busy "):
                self.held.set()
                self.release.wait(30)
            connection.send(OK)

    def ask(self, request: bytes) -> RawResponse:
        with self.edgewise.client() as client:
            return client.ask(request)

    def get(self, path: str, *lines: str) -> RawResponse:
        return self.ask(get(path, "shop.example", *lines))

    def post(self, path: str, content: bytes, *lines: str) -> RawResponse:
        return self.ask(post(content, path, "shop.example", *lines))

    def bearer(self, path: str, **changes: object) -> RawResponse:
        token = mint(KEY, "EdDSA", **{"iss": ISSUER, "aud": AUDIENCE, "exp": 4_000_000_000, **changes})
        return self.get(path, f"Authorization: Bearer {token.decode()}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("refusals"))
    yield site
    site.release.set()
    site.edgewise.stop()
    site.origin.stop()
    assert "Traceback" not in site.edgewise.log, site.edgewise.log


def busy(site: Site) -> RawResponse:
    """Ask while another request is at the server."""
    with site.edgewise.client() as first:
        first.send(get("/busy", "shop.example"))
        assert site.held.wait(15)
        refused = site.get("/busy")
        site.release.set()
        assert first.read().status == 200
    return refused


def refusals(site: Site) -> Iterator[tuple[str, RawResponse]]:
    """Yield a refusal of every kind: what was asked, in words, and the answer."""
    yield "maintenance", site.get("/maintenance")
    yield "ip: an address that is denied", site.get("/ip")
    asked = ("Origin: https://evil.example", "Access-Control-Request-Method: PUT")
    yield "cors: a preflight of another origin", site.ask(get("/cors", "a", *asked).replace(b"GET", b"OPTIONS", 1))
    site.get("/rate")
    yield "rate_limit: over it", site.get("/rate")
    site.get("/quota", ALICE)
    yield "rate_limit: a consumer over its quota", site.get("/quota", ALICE)
    yield "concurrency: one too many", busy(site)
    yield "auth: no API key", site.get("/key")
    yield "auth: an API key that nobody has", site.get("/key", "X-API-Key: key-of-mallory-01234")
    yield "auth: two API keys", site.get("/key", ALICE, "X-API-Key: key-of-mallory-01234")
    yield "auth: no password", site.get("/basic")
    wrong = base64.b64encode(b"alice:wrong").decode()
    yield "auth: a wrong password", site.get("/basic", f"Authorization: Basic {wrong}")
    yield "auth: no token", site.get("/token")
    yield "auth: what is no token", site.get("/token", "Authorization: Bearer nonsense")
    yield "auth: a token that has expired", site.bearer("/token", exp=1_000_000_000, iat=999_999_000, nbf=999_999_000)
    yield "auth: a token for others", site.bearer("/token", aud="https://other.example")
    down = mint(make_key("Ed25519", "other"), "EdDSA", iss="https://down.example", aud=AUDIENCE).decode()
    yield "auth: an issuer whose keys cannot be had", site.get("/down", f"Authorization: Bearer {down}")
    yield "auth: nothing of several ways", site.get("/any")
    yield "auth: no signature", site.post("/signed", b"{}")
    signature = f"X-Hub-Signature-256: sha256={'0' * 64}"
    yield "auth: a wrong signature", site.post("/signed", b"{}", signature)
    yield "auth: too much content to verify", site.post("/signed", b"x" * 65, signature)
    yield "auth: a service that does not answer", site.get("/forward")
    yield "authorize: a scope is missing", site.get("/scope", ALICE)
    yield "authorize: a token lacks a scope", site.bearer("/scope", scope="read")
    yield "authorize: nobody was verified", site.get("/scope")
    yield "authorize: not in the group", site.get("/group", ALICE)
    yield "idempotency: no key", site.post("/idempotent", b"{}")
    site.post("/idempotent", b"{}", 'Idempotency-Key: "one"')
    yield "idempotency: another request under a key", site.post("/idempotent", b"[]", 'Idempotency-Key: "one"')
    yield "idempotency: too much content", site.post("/idempotent", b"x" * 65, 'Idempotency-Key: "two"')
    yield "transform: what is not JSON", site.post("/json", b"{", "Content-Type: application/json")
    coded = ("Content-Type: application/json", "Content-Encoding: gzip")
    yield "transform: JSON that is coded", site.post("/json", b"{}", *coded)
    yield "transform: too much content", site.post("/json", b'"%b"' % (b"x" * 65), "Content-Type: application/json")
    yield "transcode: no method of that path", site.get("/v1/none/of/that")


def shown(asked: str, answer: RawResponse) -> str:
    """Return a refusal as it is kept: without what differs each time."""
    fields = [line.decode("latin-1") for line in answer.head.split(b"\r\n")[1:] if line]
    fields = [line for line in fields if not line.startswith(("Date:", "Content-Length:"))]
    fields = [re.sub(r"\d+", "<n>", line) if line.startswith(("RateLimit", "Retry-After")) else line for line in fields]
    content = re.sub(r'"request_id": "[0-9a-f]{32}"', '"request_id": "<id>"', answer.body.decode())
    content = re.sub(r"in \d+ s", "in <n> s", content)
    status = f"{answer.status} {reason(answer.status).decode()}"
    return "\n".join([f"# {asked}", status, *fields, "", content])


def test_they_are_what_they_were_and_every_policy_has_one(site: Site) -> None:
    found = list(refusals(site))
    for asked, answer in found:
        assert answer.get("Content-Type") == "application/problem+json", asked
        assert answer.get("Cache-Control") == "no-store", asked
        problem = json.loads(answer.body)
        assert problem.keys() == {"title", "status", "detail", "policy", "request_id"}, asked
        assert problem["status"] == answer.status, asked
        assert problem["title"] == reason(answer.status).decode(), asked
        if answer.status == 401 and asked not in WITHOUT_SCHEME:
            assert answer.get("WWW-Authenticate") is not None, asked
        assert answer.status not in (429, 503) or answer.get("Retry-After") is not None, asked
        assert "key-of-" not in str(answer.body), asked
    assert {json.loads(answer.body)["policy"] for _, answer in found} == REFUSING
    text = "\n".join(shown(asked, answer) for asked, answer in found)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_grpc_clients_get_them_as_statuses(site: Site) -> None:
    """The code that fits the status, and the detail as the message."""
    with Http2Client(("127.0.0.1", site.edgewise.port)) as client:
        for path, code in (("/ip", "7"), ("/key", "16"), ("/maintenance", "14"), ("/rate", "8")):
            fields = request_fields(path, "POST", ("content-type", "application/grpc"), ("te", "trailers"))
            answer = client.answer(client.request(fields))
            assert (answer.status, answer.get("grpc-status")) == (200, code), path
            assert answer.get("grpc-message"), path
