"""Signatures of requests: the forms of well-known senders, their published examples, and what must not pass."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64encode
from time import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config import ConfigError, parse
from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.contracts.state import StateUnavailable
from edgewise.gateway import signatures
from edgewise.protocols.http1 import parse_request_head
from edgewise.router.policies.signatures import signature

SECRET = "It's a Secret to Everybody"
"""Of GitHub's documentation, as the next two are."""
CONTENT = b"Hello, World!"
GITHUB = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


class Engine:
    """Remembers keys, as the state engine does."""

    def __init__(self) -> None:
        self.keys: dict[str, float | None] = {}
        self.lost = False

    async def __call__(self) -> Engine:
        """Open it."""
        return self

    async def compare_and_set(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int | None:
        """Write what is not there."""
        if self.lost:
            raise StateUnavailable("it is lost")
        assert revision == 0
        if key in self.keys:
            return None
        self.keys[key] = ttl
        return 1


def way(toml: str, opening: Engine | None = None) -> Any:
    """Return the way that a table [signatures.hook] makes."""
    text = f"[upstreams.a]\nservers = ['127.0.0.1:1']\n[signatures.hook]\n{toml}\n[policies.auth]\nsignature = 'hook'\n"
    config = parse(text)
    gateway = SimpleNamespace(config=config, opening=opening, share=lambda key, make: make())
    return signature("hook", SimpleNamespace(gateway=gateway))  # type: ignore[arg-type]


def asked(way: Any, *fields: str, content: bytes = CONTENT, line: str = "POST /a/b?c=d") -> Any:
    """Return what the way says of a request."""
    lines = "".join(f"{field}\r\n" for field in fields)
    head = f"{line} HTTP/1.1\r\nHost: api.example.com\r\n{lines}Content-Length: {len(content)}\r\n\r\n"
    body = SimpleNamespace(gather=lambda most, policy: content)
    exchange = SimpleNamespace(plan=SimpleNamespace(request=parse_request_head(head.encode(), 100)), body=body)
    result = way.authenticate(exchange)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def hexed(secret: str, text: bytes, algorithm: str = "sha256") -> str:
    """Return an HMAC in hexadecimal."""
    return hmac.new(secret.encode(), text, algorithm).hexdigest()


def test_the_example_of_github_is_verified() -> None:
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]')
    identity = asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}")
    assert isinstance(identity, Identity)
    assert (identity.name, identity.method) == ("hook", "signature")
    assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB.upper()}") is identity


@pytest.mark.parametrize(
    "fields",
    [
        (f"X-Hub-Signature-256: {GITHUB}",),
        ("X-Hub-Signature-256: sha256=",),
        ("X-Hub-Signature-256:",),
        (f"X-Hub-Signature-256: sha1={GITHUB}",),
        (f"X-Hub-Signature-256: sha256={GITHUB[:-1]}",),
        (f"X-Hub-Signature-256: sha256={GITHUB}0",),
        (f"X-Hub-Signature-256: sha256={GITHUB[:-1]}\u00e9",),
        (f"X-Hub-Signature-256: sha256={GITHUB}", f"X-Hub-Signature-256: sha256={GITHUB}"),
    ],
)
def test_a_signature_that_is_not_right_is_refused(fields: tuple[str, ...]) -> None:
    refused = asked(way(f'preset = "github"\nsecrets = ["{SECRET}"]'), *fields)
    assert isinstance(refused, Denial)
    assert refused.status == 403


def test_other_content_is_not_what_was_signed() -> None:
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]')
    for content in (b"", b"Hello, World", b"Hello, World!\n", b"hello, World!"):
        assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}", content=content).status == 403


def test_a_request_without_a_signature_has_no_credential_of_this_kind() -> None:
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]')
    assert asked(hook) is None
    assert asked(hook, f"X-Hub-Signature: sha256={GITHUB}") is None


def test_any_of_several_secrets_is_right_while_one_replaces_the_other(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("HOOK_SECRET", "another secret")
    hook = way(f'preset = "github"\nsecrets = ["an old secret"]\nsecret_files = ["{tmp_path}/secret"]\n'
               'secret_env = ["HOOK_SECRET"]')  # fmt: skip
    assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}").name == "hook"
    for secret in ("an old secret", "another secret"):
        assert asked(hook, f"X-Hub-Signature-256: sha256={hexed(secret, CONTENT)}").name == "hook"
    assert asked(hook, f"X-Hub-Signature-256: sha256={hexed('no secret here', CONTENT)}").status == 403


def stripe(moment: int, *secrets: str) -> str:
    """Return Stripe's field."""
    signed = b"%d.%b" % (moment, CONTENT)
    return f"Stripe-Signature: t={moment}," + ",".join(f"v1={hexed(secret, signed)}" for secret in secrets) + ",v0=no"


def test_stripes_pairs_hold_a_time_and_several_signatures() -> None:
    hook = way('preset = "stripe"\nsecrets = ["whsec_secret"]')
    now = int(time())
    assert asked(hook, stripe(now, "whsec_secret")).name == "hook"
    assert asked(hook, stripe(now, "other", "whsec_secret")).name == "hook"
    assert asked(hook, stripe(now - 290, "whsec_secret")).name == "hook"
    assert asked(hook, stripe(now, *["other"] * 17)).status == 403
    for moment in (now - 310, now + 310):
        assert asked(hook, stripe(moment, "whsec_secret")).status == 403
    field = stripe(now, "whsec_secret")
    for other in (field.replace(f"t={now}", f"t={now + 1}"), field.replace("t=", "x="), field.replace("v1=", "v0="),
                  field.replace(f"t={now}", f"t={now},t={now}"), field.replace(f"t={now}", f"t=+{now}")):  # fmt: skip
        assert asked(hook, other).status == 403


def test_the_example_of_slack_is_verified_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
        b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    fields = (
        "X-Slack-Request-Timestamp: 1531420618",
        "X-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    )
    hook = way('preset = "slack"\nsecrets = ["8f742231b10e8888abcd99yyyzzz85a5"]')
    assert asked(hook, *fields, content=content).status == 403
    monkeypatch.setattr(signatures, "time", lambda: 1531420618.0 + 200)
    assert asked(hook, *fields, content=content).name == "hook"
    assert asked(hook, fields[1], content=content).status == 403
    assert asked(hook, fields[0], *fields, content=content).status == 403


def test_the_example_of_standard_webhooks_is_verified_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = (
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,bm9uZQ== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    hook = way('preset = "standard-webhooks"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]')
    monkeypatch.setattr(signatures, "time", lambda: 1614265330.0)
    content = b'{"test": 2432232314}'
    assert asked(hook, *fields, content=content).name == "hook"
    assert asked(hook, *fields[1:], content=content).status == 403
    assert asked(hook, fields[0].replace("k", "K"), *fields[1:], content=content).status == 403


def test_a_form_of_ones_own_signs_what_its_template_says() -> None:
    hook = way(
        'secrets = ["a secret of ours"]\nheader = "X-Sig"\nprefix = "HMAC "\nalgorithm = "sha512"\n'
        'encoding = "base64"\n'
        'signed = "{method} {target} {path} {query} {host} {header:X-Key}\\n{timestamp}\\n{body}"\n'
        'timestamp_header = "X-Time"\ntolerance = "10s"\nname = "partner"\ngroups = ["b2b"]\n'
    )
    now = int(time())
    signed = b"POST /a/b?c=d /a/b c=d api.example.com k1\n%d\n%b" % (now, CONTENT)
    sig = b64encode(hmac.new(b"a secret of ours", signed, hashlib.sha512).digest()).decode()
    fields = (f"X-Time: {now}", "X-Key: k1", f"X-Sig: HMAC {sig}")
    identity = asked(hook, *fields)
    assert (identity.name, identity.groups) == ("partner", {"b2b"})
    assert asked(hook, *fields, line="POST /a/b?c=e").status == 403
    assert asked(hook, *fields, line="PUT /a/b?c=d").status == 403
    assert asked(hook, fields[0], "X-Key: k2", fields[2]).status == 403
    assert asked(hook, fields[0], fields[2]).status == 403


def test_what_was_signed_counts_once_whichever_secret_it_was_signed_with() -> None:
    engine = Engine()
    hook = way('preset = "stripe"\nsecrets = ["old secret", "new secret"]', engine)
    now = int(time())
    assert asked(hook, stripe(now, "old secret", "new secret")).name == "hook"
    for again in (stripe(now, "new secret"), stripe(now, "old secret"), stripe(now, "new secret").upper()):
        again = again.replace("STRIPE-SIGNATURE: T=", "Stripe-Signature: t=").replace("V1=", "v1=")
        assert asked(hook, again).status == 403
    assert asked(hook, stripe(now - 1, "new secret")).name == "hook"
    assert list(engine.keys.values()) == [600.0, 600.0]


def test_signatures_that_are_wrong_or_have_no_time_are_not_remembered() -> None:
    engine = Engine()
    assert asked(way('preset = "stripe"\nsecrets = ["old secret"]', engine), stripe(int(time()), "wrong")).status == 403
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]', engine)
    for _ in range(2):
        assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}").name == "hook"
    assert not engine.keys
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]\nonce = "1h"', engine)
    assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}").name == "hook"
    assert asked(hook, f"X-Hub-Signature-256: sha256={GITHUB}").status == 403


def test_without_the_engine_nobody_passes_who_may_have_come_before() -> None:
    engine = Engine()
    engine.lost = True
    refused = asked(way('preset = "stripe"\nsecrets = ["old secret"]', engine), stripe(int(time()), "old secret"))
    assert (refused.status, refused.fields) == (503, ((b"Retry-After", b"1"),))


@given(st.binary(max_size=64), st.integers(0, 511))
def test_no_bit_of_the_signature_may_differ(content: bytes, bit: int) -> None:
    hook = way(f'preset = "github"\nsecrets = ["{SECRET}"]\nalgorithm = "sha512"')
    digest = bytearray(hmac.new(SECRET.encode(), content, "sha512").digest())
    assert asked(hook, f"X-Hub-Signature-256: sha256={digest.hex()}", content=content).name == "hook"
    digest[bit // 8] ^= 1 << bit % 8
    assert asked(hook, f"X-Hub-Signature-256: sha256={digest.hex()}", content=content).status == 403


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('preset = "github"', "has no secret"),
        ('preset = "git"\nsecrets = ["long enough"]', "github"),
        ('secrets = ["short"]', "8"),
        ('secrets = ["long enough"]\nsigned = "{path}"', "leaves the content unsigned"),
        ('secrets = ["long enough"]\nsigned = "{body}{nothing}"', "not what can be signed"),
        ('secrets = ["long enough"]\nsigned = "{body}}"', "not what can be signed"),
        ('secrets = ["long enough"]\nsigned = "{timestamp}{body}"', "signs a time that is nowhere"),
        ('secrets = ["long enough"]\ntimestamp_header = "X-Time"', "time that is not signed"),
        ('secret_env = ["A B"]', "not the name of an environment variable"),
        ('secret_files = ["nowhere"]', "no file"),
    ],
)
def test_mistakes_are_named(table: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        way(table)


def test_a_route_that_names_no_table_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"there is no table \[signatures\.githup\]"):
        parse("[upstreams.a]\nservers = ['127.0.0.1:1']\n[policies.auth]\nsignature = 'githup'\n"
              "[signatures.github]\npreset = 'github'\nsecrets = ['long enough']\n")  # fmt: skip


def test_a_secret_of_standard_webhooks_is_in_base64() -> None:
    for secret in ("whsec_not base64!", "whsec_c2hvcnQ="):
        with pytest.raises(ValueError, match=r"signatures\.hook\.secrets"):
            way(f'preset = "standard-webhooks"\nsecrets = ["{secret}"]')
