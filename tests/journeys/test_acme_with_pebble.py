"""Certificates from a real ACME authority: issued, renewed, revoked, and what happens when something is in the way."""

from __future__ import annotations

import os
import signal
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from support.edgewise_process import free_port, wait_until
from support.https_site import NAME, HttpsSite
from support.origin import OK, Origin
from support.pebble import EXTERNAL, Pebble, needs_pebble
from support.raw_http import RawClient, get

pytestmark = needs_pebble
OTHER = "api.example.com"


class Pair:
    """An edgewise and the authority that it orders from."""

    def __init__(self, directory: Path, lines: str = "", tls: str = "", **options: Any) -> None:
        self.ports = (free_port(), free_port(), free_port())
        seen = options.pop("seen", ("http-01", "tls-alpn-01"))
        http_port = options.pop("http_port", self.ports[0] if "http-01" in seen else free_port())
        tls_port = self.ports[1] if "tls-alpn-01" in seen else free_port()
        authority = {key: options.pop(key) for key in ("seconds", "external", "slow") if key in options}
        self.pebble = Pebble(directory / "pebble", http_port, tls_port, **authority)
        acme = f'[tls.acme]\ndirectory = "{self.pebble.url}"\nca_file = "{self.pebble.ca_file}"\n{lines}'
        try:
            self.site = HttpsSite(directory / "edgewise", f"{tls}\n{acme}", ports=self.ports, **options)
        except BaseException:
            self.pebble.stop()
            raise

    def stop(self) -> None:
        """Stop both."""
        try:
            self.site.stop()
        finally:
            self.pebble.stop()


Start = Callable[..., Pair]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Pair] = []

    def make(lines: str = "", tls: str = "", **options: Any) -> Pair:
        running.append(Pair(tmp_path, lines, tls, **options))
        return running[-1]

    yield make
    for pair in running:
        pair.stop()


@pytest.mark.parametrize("challenge", ["tls-alpn-01", "http-01"])
def test_each_challenge_gets_a_trusted_certificate_for_every_host_at_every_worker(start: Start, challenge: str) -> None:
    pair = start(f'challenges = ["{challenge}"]\nemail = "admin@example.com"', workers=2, hosts=(NAME, OTHER))
    pair.site.wait_issued(NAME, OTHER)
    root = pair.pebble.root()
    for name in (NAME, OTHER) * 8:
        assert pair.site.ask(name, root).body == b"secure"
    assert pair.site.served(NAME) != pair.site.served(OTHER)


def test_where_one_challenge_cannot_be_seen_the_next_is_tried(start: Start) -> None:
    pair = start(seen=("http-01",))
    pair.site.wait_issued()
    assert "tls-alpn-01: " in pair.site.edgewise.log
    assert pair.site.ask(NAME, pair.pebble.root()).status == 200


def test_where_none_can_be_seen_each_is_told(start: Start) -> None:
    pair = start(seen=())
    error = pair.site.wait_failures(1)["last_error"]
    assert "tls-alpn-01: " in error
    assert "http-01: " in error


def test_a_certificate_is_renewed_before_its_end_and_no_connection_is_lost(start: Start) -> None:
    pair = start(seconds=12, workers=2)
    pair.site.wait_issued()
    first = pair.site.served()
    with pair.site.connect() as standing:

        def renewed() -> bool:
            assert standing.ask(get("/", NAME)).status == 200
            assert pair.site.ask().status == 200
            return pair.site.served() != first

        wait_until(renewed, "the certificate is renewed", 25)
    assert pair.site.served().not_valid_after_utc > first.not_valid_after_utc
    assert "no certificate" not in pair.site.edgewise.log


def test_a_certificate_is_revoked_once_the_new_one_is_in_use(start: Start) -> None:
    pair = start(workers=2)
    pair.site.wait_issued()
    old = pair.site.served()
    assert pair.pebble.status(old.serial_number)["Status"] == "Valid"
    assert pair.site.command("renew", NAME, "--revoke") == f"a new certificate for {NAME} is ordered\n"
    wait_until(lambda: pair.pebble.status(old.serial_number)["Status"] == "Revoked", "the old certificate is revoked")
    assert all(pair.site.served() != old for _ in range(8))
    assert pair.pebble.status(pair.site.served().serial_number)["Status"] == "Valid"


def test_an_authority_that_is_down_for_a_while_costs_nothing_but_time(start: Start) -> None:
    pair = start('retry = "1s"')
    pair.site.wait_issued()
    old = pair.site.served()
    pair.pebble.stop()
    pair.site.command("renew", NAME)
    state = pair.site.wait_failures(1)
    assert "cannot be reached: Connection refused" in state["last_error"]
    assert state["not_after"]
    assert pair.site.served() == old
    pair.pebble.start()  # with the account forgotten
    wait_until(lambda: pair.site.served() != old, "a new certificate is served", 30)
    assert pair.site.ask(NAME, pair.pebble.root()).status == 200
    pair.site.wait_issued()


def test_a_wrong_answer_to_a_challenge_is_reported_and_the_host_shows_its_placeholder(start: Start) -> None:
    impostor = Origin(OK)
    pair = start('challenges = ["http-01"]', http_port=impostor.port, tls="redirect = true")
    state = pair.site.wait_failures(1)
    impostor.stop()
    assert "http-01: unauthorized" in state["last_error"]
    assert state["not_after"] is None
    assert "edgewise: no certificate yet" in pair.site.served().subject.rfc4514_string()
    assert pair.site.ask().status == 200
    assert pair.site.ask_plain().status == 200  # nobody is sent to where nothing is trusted
    assert 'certificate_failures{name="shop.example.com"} 1' in pair.site.edgewise.admin("/metrics").decode()
    assert NAME in pair.site.command("status")


def test_accounts_are_bound_to_external_ones(start: Start) -> None:
    key_id, hmac_key = EXTERNAL
    pair = start(f'external_account = {{ key_id = "{key_id}", hmac_key = "{hmac_key}" }}', external=True)
    pair.site.wait_issued()
    assert hmac_key not in pair.site.edgewise.admin("/api/v1/config").decode()


def test_keys_may_be_rsa(start: Start) -> None:
    pair = start('key_type = "rsa2048"')
    pair.site.wait_issued()
    assert isinstance(pair.site.served().public_key(), rsa.RSAPublicKey)


def test_what_is_stored_is_for_its_owner_alone(start: Start) -> None:
    pair = start()
    pair.site.wait_issued()
    found = [pair.site.state, *pair.site.state.rglob("*")]
    modes = {path.relative_to(pair.site.state.parent): stat.S_IMODE(path.stat().st_mode) for path in found}
    assert {mode for path, mode in modes.items() if path.suffix} == {0o600}
    assert {mode for path, mode in modes.items() if not path.suffix} == {0o700}
    assert len(list((pair.site.state / "accounts").glob("*.pem"))) == 1
    assert not list((pair.site.state / "challenges").iterdir())


def test_a_host_added_by_a_reload_gets_its_certificate_and_the_others_keep_theirs(start: Start) -> None:
    pair = start(workers=2)
    pair.site.wait_issued()
    before = pair.site.served()
    pair.site.edgewise.write_config(pair.site.toml.replace(f'host = ["{NAME}"]', f'host = ["{NAME}", "{OTHER}"]'))
    pair.site.command("reload")
    pair.site.wait_issued(NAME, OTHER)
    for _ in range(8):
        assert pair.site.ask(OTHER, pair.pebble.root()).status == 200
        assert pair.site.served(NAME) == before


def test_plain_requests_are_redirected_once_there_is_a_certificate_but_never_challenges(start: Start) -> None:
    pair = start(tls='redirect = true\nhsts = "1y"')
    pair.site.wait_issued()
    site, port = pair.site, pair.ports[1]
    answer = site.ask_plain("/cart?id=1")
    assert (answer.status, answer.get("Location")) == (308, f"https://{NAME}:{port}/cart?id=1")
    assert answer.get("Strict-Transport-Security") is None
    assert site.ask_plain("/.well-known/acme-challenge/unknown").status == 200  # the route's answer
    assert site.ask_plain(name="other.example.com").status == 404
    assert site.ask().get("Strict-Transport-Security") == "max-age=31536000"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_control_process_killed_in_the_middle_of_an_order_begins_anew(start: Start) -> None:
    pair = start(slow=True, workers=2)
    site = pair.site
    wait_until(lambda: list((site.state / "challenges").glob("*.pem")), "a challenge is under way")
    old = site.control_pid()
    kill(old)
    site.wait_issued()
    assert site.control_pid() != old
    wait_until(lambda: not list((site.state / "challenges").iterdir()), "nothing is left of the challenge")
    assert [path.name for path in (site.state / "certificates").glob(".*")] == []


def test_an_edgewise_killed_in_the_middle_of_a_renewal_starts_with_the_old_certificate(start: Start) -> None:
    pair = start(slow=True)
    site = pair.site
    site.wait_issued()
    old = site.served()
    site.command("renew", NAME)
    wait_until(lambda: list((site.state / "challenges").glob("*.pem")), "a challenge is under way")
    site.kill()
    pair.pebble.stop()
    site.start()
    assert site.served() == old
    assert site.certificates()[NAME]["not_after"]
    wait_until(lambda: not list((site.state / "challenges").iterdir()), "nothing is left of the challenge")


def test_a_worker_that_is_replaced_has_the_certificate(start: Start) -> None:
    pair = start(workers=2)
    pair.site.wait_issued()
    before = pair.site.served()
    for pid in set(pair.site.edgewise.tree()[1:]) - {pair.site.control_pid()}:
        kill(pid)
    wait_until(lambda: b'"ready":true' in pair.site.edgewise.admin("/api/v1/status"), "the workers are back")
    assert all(pair.site.served() == before for _ in range(8))


def test_a_worker_that_is_replaced_in_the_middle_of_an_order_answers_the_challenge(start: Start) -> None:
    pair = start(slow=True)
    wait_until(lambda: list((pair.site.state / "challenges").glob("*.pem")), "a challenge is under way")
    (worker,) = set(pair.site.edgewise.tree()[1:]) - {pair.site.control_pid()}
    kill(worker)
    pair.site.wait_issued()
    assert "next attempt" not in pair.site.edgewise.log


def test_a_client_that_offers_the_protocol_of_challenges_gets_nothing_when_none_is_under_way(start: Start) -> None:
    pair = start()
    pair.site.wait_issued()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        RawClient(("127.0.0.1", pair.ports[1]), tls=context, server_name=NAME)
    assert isinstance(pair.site.served(), x509.Certificate)
