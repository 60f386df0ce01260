"""Conversations with an authority as transcripts, without a socket: each answer is given by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgewise.tls.acme.jws import AccountKey, decode
from edgewise.tls.acme.messages import AcmeError, Pause, Present, Request, Response, Steps
from edgewise.tls.acme.session import AcmeSession, ChallengeError

BASE = "https://ca.test"
NAMES = ("newNonce", "newAccount", "newOrder", "revokeCert")
DIRECTORY = {name: f"{BASE}/{name}" for name in NAMES}
KEY = AccountKey.generate()
ERROR = "urn:ietf:params:acme:error:"


def said(content: Any = None, status: int = 200, **headers: str) -> Response:
    """Return an answer with a JSON content and a nonce."""
    fields = {"replay-nonce": "nonce", **{name.replace("_", "-"): value for name, value in headers.items()}}
    body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
    return Response(status, fields, body)


def refusal(kind: str, detail: str = "", status: int = 400, **headers: str) -> Response:
    return said({"type": ERROR + kind, "detail": detail}, status, **headers)


class Authority:
    """Answers by path: each path has a list of answers, the last of which repeats."""

    def __init__(self, **answers: Any) -> None:
        self._answers: dict[str, list[Response]] = {
            "directory": [said(DIRECTORY)],
            "newNonce": [said()],
            "newAccount": [said({"status": "valid"}, 201, location=f"{BASE}/account/1")],
            "newOrder": [said(order("pending"), 201, location=f"{BASE}/order")],
            "order": [said(order("ready")), said(order("valid"))],
            "authorization": [said(authorization("pending")), said(authorization("valid"))],
            "challenge": [said({})],
            "finalize": [said(order("processing"))],
            "certificate": [said(b"chain")],
            **answers,
        }
        self.asked: list[str] = []
        self.payloads: dict[str, Any] = {}
        self.pauses: list[float] = []
        self.presented: list[Present] = []

    def run(self, steps: Steps[Any]) -> Any:
        """Carry a conversation to its end; return its result."""
        answer = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Request):
                    answer = self._answer(step)
                elif isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                else:
                    self.presented.append(step)
                    self.asked.append("(present)")
        except StopIteration as end:
            return end.value

    def _answer(self, request: Request) -> Response:
        path = request.url.removeprefix(f"{BASE}/").partition("/")[0]
        self.asked.append(path)
        if request.method == "POST":
            payload = json.loads(request.body)["payload"]
            self.payloads[path] = json.loads(decode(payload)) if payload else None
        answers = self._answers[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def order(status: str, **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "authorizations": [f"{BASE}/authorization"],
        "finalize": f"{BASE}/finalize",
        "certificate": f"{BASE}/certificate",
        **more,
    }


def authorization(status: str, error: Any = None, kinds: tuple[str, ...] = ("http-01", "dns-01")) -> dict[str, Any]:
    offers = [{"type": kind, "url": f"{BASE}/challenge", "token": "abc-_9", "error": error} for kind in kinds]
    return {"status": status, "challenges": offers}


def signed_in(authority: Authority) -> AcmeSession:
    session = AcmeSession(f"{BASE}/directory", KEY)
    authority.run(session.sign_in("me@example.com"))
    authority.asked.clear()
    return session


def test_the_account_is_made_once_with_the_terms_agreed() -> None:
    authority = Authority()
    session = AcmeSession(f"{BASE}/directory", KEY)
    authority.run(session.sign_in("me@example.com"))
    assert authority.asked == ["directory", "newAccount"]
    assert authority.payloads["newAccount"] == {"termsOfServiceAgreed": True, "contact": ["mailto:me@example.com"]}
    assert session.account == f"{BASE}/account/1"


def test_a_known_account_is_used_and_its_address_kept_right() -> None:
    authority = Authority(account=[said({"status": "valid"})])
    session = AcmeSession(f"{BASE}/directory", KEY, f"{BASE}/account/7")
    authority.run(session.sign_in(None))
    assert authority.asked == ["directory", "account"]
    assert authority.payloads["account"] == {"contact": []}
    assert session.account == f"{BASE}/account/7"


def test_an_account_that_the_authority_forgot_is_made_anew() -> None:
    authority = Authority(account=[refusal("accountDoesNotExist")])
    session = AcmeSession(f"{BASE}/directory", KEY, f"{BASE}/account/7")
    authority.run(session.sign_in(None))
    assert authority.asked[-2:] == ["account", "newAccount"]
    assert session.account == f"{BASE}/account/1"


def test_a_bad_external_key_is_told() -> None:
    with pytest.raises(AcmeError, match=r"external_account\.hmac_key is not base64url"):
        Authority().run(AcmeSession(f"{BASE}/directory", KEY).sign_in(None, ("kid", "!")))


def test_an_order_goes_from_challenge_to_certificate() -> None:
    authority = Authority()
    session = signed_in(authority)
    assert authority.run(session.order("shop.test", "http-01", b"request")) == b"chain"
    assert authority.asked == [
        "newOrder", "authorization", "(present)", "challenge", "authorization", "order", "finalize", "order",
        "certificate",
    ]  # fmt: skip
    assert authority.payloads["newOrder"] == {"identifiers": [{"type": "dns", "value": "shop.test"}]}
    assert authority.payloads["finalize"] == {"csr": "cmVxdWVzdA"}
    (presented,) = authority.presented
    assert presented.challenge.name == "shop.test"
    assert presented.challenge.authorization == f"abc-_9.{KEY.thumbprint}"


def test_what_is_proved_already_is_not_proved_again() -> None:
    authority = Authority(authorization=[said(authorization("valid"))])
    session = signed_in(authority)
    assert authority.run(session.order("shop.test", "tls-alpn-01", b"")) == b"chain"
    assert authority.presented == []


def test_a_refused_nonce_is_replaced() -> None:
    authority = Authority(newOrder=[refusal("badNonce")] * 3 + [said(order("pending"), 201, location=f"{BASE}/order")])
    session = signed_in(authority)
    assert authority.run(session.order("shop.test", "http-01", b"")) == b"chain"
    assert authority.asked[:4] == ["newOrder"] * 4


def test_nonces_are_not_tried_for_ever() -> None:
    authority = Authority(newOrder=[refusal("badNonce", "again")])
    with pytest.raises(AcmeError, match="badNonce: again"):
        authority.run(signed_in(authority).order("shop.test", "http-01", b""))
    assert len(authority.asked) == 6


def test_a_failed_challenge_tells_what_the_authority_saw() -> None:
    seen = {"type": ERROR + "unauthorized", "detail": "404\nat the path"}
    answers = [said(authorization("pending")), said(authorization("invalid", seen))]
    authority = Authority(authorization=answers)
    with pytest.raises(ChallengeError, match="http-01: unauthorized: 404 at the path") as caught:
        authority.run(signed_in(authority).order("shop.test", "http-01", b""))
    assert caught.value.kind == "unauthorized"


def test_a_challenge_that_is_not_offered_may_do_by_another() -> None:
    authority = Authority()
    with pytest.raises(ChallengeError, match="does not offer tls-alpn-01"):
        authority.run(signed_in(authority).order("shop.test", "tls-alpn-01", b""))


def test_a_rate_limit_carries_the_time_to_wait() -> None:
    authority = Authority(newOrder=[refusal("rateLimited", "too many", 429, retry_after="3600")])
    with pytest.raises(AcmeError, match="rateLimited: too many") as caught:
        authority.run(signed_in(authority).order("shop.test", "http-01", b""))
    assert (caught.value.kind, caught.value.retry_after) == ("rateLimited", 3600.0)


def test_the_authority_sets_the_pace_within_bounds() -> None:
    answers = [said(authorization("pending"), retry_after=text) for text in ("3", "3", "500")]
    authority = Authority(authorization=[*answers, said(authorization("valid"))])
    authority.run(signed_in(authority).order("shop.test", "http-01", b""))
    assert authority.pauses[:2] == [3.0, 15.0]


def test_an_authority_that_never_decides_is_given_up() -> None:
    authority = Authority(authorization=[said(authorization("pending"))])
    with pytest.raises(AcmeError, match="the authorization was still pending after 1"):
        authority.run(signed_in(authority).order("shop.test", "http-01", b""))
    assert 150 < sum(authority.pauses) <= 180


def test_an_order_that_failed_at_its_end_tells_why() -> None:
    error = {"type": ERROR + "badCSR", "detail": "weak key"}
    authority = Authority(order=[said(order("ready")), said(order("invalid", error=error))])
    with pytest.raises(AcmeError, match="badCSR: weak key"):
        authority.run(signed_in(authority).order("shop.test", "http-01", b""))


def test_the_certificate_that_is_replaced_is_named_where_the_authority_cares() -> None:
    authority = Authority(directory=[said({**DIRECTORY, "renewalInfo": f"{BASE}/info"})])
    authority.run(signed_in(authority).order("shop.test", "http-01", b"", "id.serial"))
    assert authority.payloads["newOrder"]["replaces"] == "id.serial"
    authority = Authority()
    authority.run(signed_in(authority).order("shop.test", "http-01", b"", "id.serial"))
    assert "replaces" not in authority.payloads["newOrder"]


def test_the_window_for_renewal_is_asked_where_there_is_one() -> None:
    window = {"suggestedWindow": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"}}
    directory = [said({**DIRECTORY, "renewalInfo": f"{BASE}/info"})]
    authority = Authority(directory=directory, info=[said(window, retry_after="600")])
    found = authority.run(signed_in(authority).renewal_info("id.serial"))
    assert found == ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z", 600.0)
    authority = Authority()
    assert authority.run(signed_in(authority).renewal_info("id.serial")) is None


def test_a_certificate_is_revoked_as_superseded() -> None:
    authority = Authority(revokeCert=[said()])
    authority.run(signed_in(authority).revoke(b"der"))
    assert authority.payloads["revokeCert"] == {"certificate": "ZGVy", "reason": 4}


BARE = Response(200, {}, json.dumps(DIRECTORY).encode())
"""A directory that comes without a nonce."""
BAD_TOKEN = {"status": "pending", "challenges": [{"type": "http-01", "url": "u", "token": "../x"}]}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"directory": [said(b"<html>")]}, "without a JSON object"),
        ({"directory": [said([])]}, "without a JSON object"),
        ({"directory": [said({})]}, "lacks 'newAccount'"),
        ({"directory": [Response(502, {}, b"bad gateway")]}, "answered 502"),
        ({"directory": [BARE], "newNonce": [Response(200, {}, b"")]}, "no nonce"),
        ({"newOrder": [said(order("pending"), 201)]}, "lacks a Location"),
        ({"newOrder": [said({"status": "pending"}, 201, location="x")]}, "lacks 'authorizations'"),
        ({"authorization": [said({"status": "pending"})]}, "lacks 'challenges'"),
        ({"authorization": [said(BAD_TOKEN)]}, "may not have"),
        ({"order": [said({"status": 7})]}, "the order is 7"),
    ],
)
def test_nonsense_is_an_error_in_plain_words(answers: dict[str, Any], words: str) -> None:
    session = AcmeSession(f"{BASE}/directory", KEY)

    def all_of_it() -> Steps[None]:
        yield from session.sign_in(None)
        yield from session.order("shop.test", "http-01", b"")

    with pytest.raises(AcmeError, match=words):
        Authority(**answers).run(all_of_it())


def test_a_nonce_is_asked_for_where_none_came_along() -> None:
    authority = Authority(directory=[BARE])
    authority.run(AcmeSession(f"{BASE}/directory", KEY).sign_in(None))
    assert authority.asked == ["directory", "newNonce", "newAccount"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("", None), ("soon", None), ("-5", None), ("1_0", None), ("9999999999", None),
     ("99999999", 604800.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_within_a_week(text: str, seconds: float | None) -> None:
    assert Response(429, {"retry-after": text}, b"").retry_after() == seconds
