"""Contexts by server name, with real handshakes in memory: certificates, client certificates, reload, clear errors."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgewise.config.schema import Certificate, Tls, TlsHost
from edgewise.tls.contexts import ContextSet
from edgewise.tls.development import DevelopmentAuthority, Pair
from edgewise.tls.errors import TlsError

AUTHORITY = DevelopmentAuthority()
CLIENTS = DevelopmentAuthority("clients")
OPEN = AUTHORITY.issue(["open.example.com"])
WILDCARD = AUTHORITY.issue(["*.example.com", "example.org"])
ALICE = CLIENTS.issue(["alice"], client=True)
MALLORY = DevelopmentAuthority("others").issue(["mallory"], client=True)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    OPEN.write(tmp_path, "open")
    WILDCARD.write(tmp_path, "wildcard")
    CLIENTS.write(tmp_path, "clients")
    return tmp_path


def entry(directory: Path, name: str, *hosts: str) -> Certificate:
    return Certificate(cert=str(directory / f"{name}.pem"), key=str(directory / f"{name}.key"), hosts=list(hosts))


def settings(directory: Path, hosts: dict[str, TlsHost] | None = None, **keys: object) -> Tls:
    certificates = [entry(directory, "open"), entry(directory, "wildcard")]
    return Tls.model_validate({"certificates": certificates, "hosts": hosts or {}, **keys})


def demanding(directory: Path, demand: str = "required") -> TlsHost:
    return TlsHost.model_validate({"client_auth": demand, "client_ca": str(directory / "clients.pem")})


def client(directory: Path, pair: Pair | None = None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=AUTHORITY.certificate.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, version in versions.items():
        setattr(context, name, version)
    if pair is not None:
        context.load_cert_chain(*pair.write(directory, "presented"))
    return context


def handshake(
    server: ssl.SSLContext, other: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run a handshake to its end, tickets and one byte of content included; return (client, server)."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepted = server.wrap_bio(to_server, to_client, server_side=True)
    connected = other.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    for _ in range(3):
        for side in (connected, accepted):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    accepted.write(b"x")
    assert connected.read(1) == b"x"
    return connected, accepted


def presented(contexts: ContextSet, directory: Path, name: str) -> set[str]:
    connected, _ = handshake(contexts.choose(name), client(directory), name)
    certificate = connected.getpeercert()
    assert certificate
    return {str(pair[1]) for pair in certificate["subjectAltName"]}


def test_the_certificate_is_chosen_by_exact_name_then_by_wildcard(directory: Path) -> None:
    contexts = ContextSet(settings(directory))
    assert presented(contexts, directory, "open.example.com") == {"open.example.com"}
    assert presented(contexts, directory, "shop.example.com") == {"*.example.com", "example.org"}
    assert presented(contexts, directory, "EXAMPLE.org") == {"*.example.com", "example.org"}


@pytest.mark.parametrize("name", [None, "unknown.example", "a.b.example.com", "example.com", ""])
def test_other_names_get_the_first_certificate(directory: Path, name: str | None) -> None:
    contexts = ContextSet(settings(directory))
    assert contexts.choose(name) is contexts.choose("open.example.com")


def test_configured_hosts_go_before_the_names_in_the_certificate(directory: Path) -> None:
    tls = Tls(certificates=[entry(directory, "wildcard"), entry(directory, "open", "shop.example.com")])
    contexts = ContextSet(tls)
    assert contexts.choose("shop.example.com") is not contexts.choose("open.example.com")
    assert contexts.choose("open.example.com") is contexts.choose("any.example.com")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_served_with_forward_secrecy_and_http_2(directory: Path, version: ssl.TLSVersion) -> None:
    context = ContextSet(settings(directory)).choose("open.example.com")
    connected, _ = handshake(context, client(directory, maximum_version=version), "open.example.com")
    cipher = connected.cipher()
    assert cipher is not None
    assert cipher[0].startswith(("TLS_", "ECDHE-"))
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
    assert connected.selected_alpn_protocol() == "h2"
    assert connected.compression() is None


def test_older_versions_than_the_minimum_are_refused(directory: Path) -> None:
    context = ContextSet(settings(directory, min_version="1.3")).choose("open.example.com")
    old = client(directory, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        handshake(context, old, "open.example.com")


def test_a_host_that_demands_a_client_certificate_gets_one_or_no_connection(directory: Path) -> None:
    contexts = ContextSet(settings(directory, {"secret.example.com": demanding(directory)}))
    context = contexts.choose("secret.example.com")
    _, accepted = handshake(context, client(directory, ALICE), "secret.example.com")
    certificate = accepted.getpeercert()
    assert certificate
    assert certificate["subjectAltName"] == (("DNS", "alice"),)
    for pair in (None, MALLORY):
        with pytest.raises(ssl.SSLError):
            handshake(context, client(directory, pair), "secret.example.com")


def test_an_optional_certificate_may_be_missing_but_not_wrong(directory: Path) -> None:
    contexts = ContextSet(settings(directory, {"secret.example.com": demanding(directory, "optional")}))
    context = contexts.choose("secret.example.com")
    _, accepted = handshake(context, client(directory), "secret.example.com")
    assert accepted.getpeercert() is None
    with pytest.raises(ssl.SSLError):
        handshake(context, client(directory, MALLORY), "secret.example.com")


def test_a_connection_to_an_open_host_does_not_carry_requests_to_one_that_demands_certificates(directory: Path) -> None:
    contexts = ContextSet(settings(directory, {"secret.example.com": demanding(directory)}))
    _, accepted = handshake(contexts.choose("open.example.com"), client(directory), "open.example.com")
    assert accepted.getpeercert() is None
    connection = contexts.key("open.example.com")
    assert connection == contexts.key("shop.example.com") == contexts.key(None) == ""
    for spelling in ("secret.example.com", "SECRET.example.com", "secret.example.com."):
        assert contexts.key(spelling) not in ("", connection)


def test_a_session_of_an_open_host_does_not_resume_at_one_that_demands_certificates(directory: Path) -> None:
    contexts = ContextSet(settings(directory, {"secret.example.com": demanding(directory)}))
    other = client(directory)
    connected, _ = handshake(contexts.choose("open.example.com"), other, "open.example.com")
    assert connected.session is not None
    with pytest.raises(ssl.SSLError):
        handshake(contexts.choose("secret.example.com"), other, "secret.example.com", connected.session)


def test_a_wildcard_override_covers_names_at_any_depth_as_routes_do(directory: Path) -> None:
    contexts = ContextSet(settings(directory, {"*.internal.example.com": demanding(directory)}))
    keys = {contexts.key(name) for name in ("a.internal.example.com", "a.b.internal.example.com")}
    assert len(keys) == 1
    assert "" not in keys
    assert contexts.key("internal.example.com") == ""
    assert contexts.choose("a.b.internal.example.com").verify_mode is ssl.CERT_REQUIRED


def test_one_host_can_be_open_where_all_others_demand_certificates(directory: Path) -> None:
    authorities = str(directory / "clients.pem")
    tls = settings(directory, {"open.example.com": TlsHost()}, client_auth="required", client_ca=authorities)
    contexts = ContextSet(tls)
    assert contexts.choose("open.example.com").verify_mode is ssl.CERT_NONE
    assert all(contexts.choose(name).verify_mode is ssl.CERT_REQUIRED for name in (None, "shop.example.com", "x"))
    assert contexts.key("open.example.com") == ""
    assert contexts.key("shop.example.com") == contexts.key(None) != ""


def test_an_override_takes_the_common_authorities_unless_it_names_its_own(directory: Path) -> None:
    authorities = str(directory / "clients.pem")
    contexts = ContextSet(
        settings(directory, {"a.example.com": TlsHost(client_auth="required")}, client_ca=authorities)
    )
    _, accepted = handshake(contexts.choose("a.example.com"), client(directory, ALICE), "a.example.com")
    assert accepted.getpeercert()


NAMES = ["open.example.com", "shop.example.com", "a.b.example.com", "example.com", "x.org", "b.x.org", "other", ""]
PATTERNS = ["open.example.com", "shop.example.com", "*.example.com", "*.b.example.com", "x.org", "*.x.org", "*.org"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    for name, pair in (("open", OPEN), ("wildcard", WILDCARD)):
        pair.write(directory, name)
    CLIENTS.write(directory, "clients")
    return directory


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(PATTERNS), min_size=1, unique=True),
    st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from(["none", "optional", "required"])),
    st.sampled_from(["none", "required"]),
)
def test_every_name_leads_to_a_context_that_enforces_its_key(
    shared: Path, names: list[str], demands: dict[str, str], default: str
) -> None:
    authorities = str(shared / "clients.pem")
    certificates = [entry(shared, "open"), entry(shared, "wildcard", *names)]
    hosts = {name: {"client_auth": demand} for name, demand in demands.items()}
    contexts = ContextSet(
        Tls.model_validate(
            {"certificates": certificates, "hosts": hosts, "client_auth": default, "client_ca": authorities}
        )
    )
    modes = {"": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    for name in NAMES:
        assert contexts.choose(name).verify_mode is modes[contexts.key(name).partition(":")[0]]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_unchanged_files_keep_their_contexts_at_a_reload_so_that_sessions_resume(
    directory: Path, version: ssl.TLSVersion
) -> None:
    before = ContextSet(settings(directory, {"secret.example.com": demanding(directory)}))
    after = ContextSet(settings(directory), before)
    assert after.choose("open.example.com") is before.choose("open.example.com")
    other = client(directory, maximum_version=version)
    connected, _ = handshake(before.choose("open.example.com"), other, "open.example.com")
    resumed, _ = handshake(after.choose("open.example.com"), other, "open.example.com", connected.session)
    assert resumed.session_reused


def test_a_changed_certificate_or_authority_makes_a_new_context(directory: Path) -> None:
    tls = settings(directory, {"secret.example.com": demanding(directory)})
    before = ContextSet(tls)
    AUTHORITY.issue(["open.example.com"]).write(directory, "open")
    renewed = ContextSet(tls, before)
    assert renewed.choose("open.example.com") is not before.choose("open.example.com")
    assert renewed.choose("secret.example.com") is before.choose("secret.example.com")
    CLIENTS.write(directory, "clients")
    os.utime(directory / "clients.pem", ns=(1, 1))
    assert ContextSet(tls, renewed).choose("secret.example.com") is not renewed.choose("secret.example.com")


def test_a_reload_that_lowers_the_demand_does_not_keep_the_context(directory: Path) -> None:
    before = ContextSet(settings(directory, {"open.example.com": demanding(directory)}))
    after = ContextSet(settings(directory, {"open.example.com": demanding(directory, "optional")}), before)
    assert after.choose("open.example.com").verify_mode is ssl.CERT_OPTIONAL
    assert before.choose("open.example.com").verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("starts", "days", "words"), [(-10.0, 5.0, "the certificate expired on"), (5.0, 5.0, "is not valid before")]
)
def test_a_certificate_outside_its_time_is_a_warning(directory: Path, starts: float, days: float, words: str) -> None:
    begins = datetime.now(UTC) + timedelta(days=starts)
    AUTHORITY.issue(["open.example.com"], starts=begins, days=days).write(directory, "open")
    (warning,) = ContextSet(settings(directory)).warnings
    assert warning.startswith(f"{directory / 'open.pem'}: ")
    assert words in warning


def test_a_good_certificate_gives_no_warning(directory: Path) -> None:
    assert ContextSet(settings(directory)).warnings == []


def broken(directory: Path, file: str, content: bytes | None) -> TlsError:
    (directory / file).unlink()
    if content is not None:
        (directory / file).write_bytes(content)
    with pytest.raises(TlsError) as caught:
        ContextSet(settings(directory, {"secret.example.com": demanding(directory)}))
    return caught.value


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("open.pem", None, "No such file or directory"),
        ("open.key", None, "No such file or directory"),
        ("clients.pem", None, "No such file or directory"),
        ("open.pem", b"", "no PEM certificate in it"),
        ("open.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM certificate in it"),
        ("open.key", b"junk", "no PEM key in it"),
        ("open.key", WILDCARD.key, "the key does not belong to the certificate in"),
        ("clients.pem", b"junk", "no PEM certificates in it"),
    ],
)
def test_errors_name_the_file_and_what_is_wrong(directory: Path, file: str, content: bytes | None, words: str) -> None:
    message = str(broken(directory, file, content))
    assert message.startswith(f"{directory / file}: ")
    assert words in message


def test_no_certificate_at_all_is_an_error() -> None:
    with pytest.raises(TlsError, match=r"tls\.certificates"):
        ContextSet(Tls())


@pytest.mark.parametrize("where", ["tls", 'tls.hosts."a.example.com"'])
def test_a_demand_without_authorities_is_an_error_that_names_the_key(directory: Path, where: str) -> None:
    if where == "tls":
        tls = settings(directory, client_auth="required")
    else:
        tls = settings(directory, {"a.example.com": TlsHost(client_auth="required")})
    with pytest.raises(TlsError) as caught:
        ContextSet(tls)
    assert str(caught.value).startswith(f"{where}: ")
