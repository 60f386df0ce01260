"""Contexts of certificates that edgewise gets by itself: changed inside, so that sessions and connections go on."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from edgewise.config import build
from edgewise.config.schema import Config
from edgewise.tls.challenge import PROTOCOL, challenge_certificate
from edgewise.tls.contexts import ContextSet
from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.errors import TlsError
from edgewise.tls.managed import build_contexts, managed_certificates
from edgewise.tls.pem import new_key, private_pem, read_bundle, self_signed
from edgewise.tls.store import Store, write_private

AUTHORITY = DevelopmentAuthority()
NAME = "shop.example.com"


def bundle(name: str = NAME) -> bytes:
    pair = AUTHORITY.issue([name])
    return pair.key + pair.certificate


def configured(directory: Path, tls: dict[str, object], hosts: tuple[str, ...] = (NAME,)) -> Config:
    return build(
        {
            "server": {"tls_listen": ["127.0.0.1:0"]},
            "tls": {"directory": str(directory / "state"), **tls},
            "routes": [{"host": list(hosts), "respond": {}}],
        }
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path, {"acme": {}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state"))


def contexts_of(config: Config, previous: ContextSet | None = None) -> ContextSet:
    contexts = build_contexts(config, previous)
    assert contexts is not None
    return contexts


class Client:
    """Shakes hands in memory and keeps its session."""

    def __init__(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, protocols: tuple[str, ...] = ()) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.maximum_version = version
        if protocols:
            self.context.set_alpn_protocols(list(protocols))
        self.session: ssl.SSLSession | None = None

    def connect(self, server: ssl.SSLContext) -> ssl.SSLObject:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        accepted = server.wrap_bio(to_server, to_client, server_side=True)
        connected = self.context.wrap_bio(to_client, to_server, server_hostname=NAME, session=self.session)
        for _ in range(3):
            for side in (connected, accepted):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        accepted.write(b"x")
        assert connected.read(1) == b"x"
        self.session = connected.session
        return connected


def shown(server: ssl.SSLContext, client: Client | None = None) -> x509.Certificate:
    der = (client or Client()).connect(server).getpeercert(True)
    assert der
    return x509.load_der_x509_certificate(der)


def test_a_host_shows_a_placeholder_until_it_has_a_certificate(config: Config, store: Store) -> None:
    contexts = contexts_of(config)
    assert "no certificate yet" in shown(contexts.choose(NAME)).subject.rfc4514_string()
    assert not contexts.certified(NAME)
    pem = bundle()
    store.keep_certificate(NAME, pem)
    contexts.refresh({})
    assert shown(contexts.choose(NAME)) == read_bundle(pem)[0]
    assert contexts.certified(NAME)
    assert not contexts.certified("other.example.com")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_after_a_renewal(config: Config, store: Store, version: ssl.TLSVersion) -> None:
    store.keep_certificate(NAME, bundle())
    contexts, client = contexts_of(config), Client(version)
    client.connect(contexts.choose(NAME))
    pem = bundle()
    store.keep_certificate(NAME, pem)
    contexts.refresh({})
    assert client.connect(contexts.choose(NAME)).session_reused
    assert shown(contexts.choose(NAME)) == read_bundle(pem)[0]


def test_a_reload_keeps_the_context_and_loads_what_came_since(config: Config, store: Store) -> None:
    contexts = contexts_of(config)
    store.keep_certificate(NAME, bundle())
    after = contexts_of(config, contexts)
    assert after.choose(NAME) is contexts.choose(NAME)
    assert after.certified(NAME)


def test_a_file_that_cannot_be_used_leaves_what_is_served(
    config: Config, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    pem = bundle()
    store.keep_certificate(NAME, pem)
    contexts = contexts_of(config)
    for content in (b"junk", AUTHORITY.issue([NAME]).key + AUTHORITY.issue([NAME]).certificate):
        store.keep_certificate(NAME, content)
        contexts.refresh({})
        assert shown(contexts.choose(NAME)) == read_bundle(pem)[0]
    store.certificate_file(NAME).unlink()
    contexts.refresh({})
    assert shown(contexts.choose(NAME)) == read_bundle(pem)[0]
    assert str(store.certificate_file(NAME)) in caplog.text


def test_another_kind_of_key_leaves_no_certificate_of_the_old_kind_behind(config: Config, store: Store) -> None:
    store.keep_certificate(NAME, bundle())
    contexts = contexts_of(config)
    key = new_key("rsa2048")
    store.keep_certificate(NAME, private_pem(key) + self_signed(NAME, key))
    contexts.refresh({})
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert isinstance(shown(contexts.choose(NAME), Client(version)).public_key(), rsa.RSAPublicKey)


def test_a_challenge_is_answered_for_its_name_while_it_is_under_way(config: Config, store: Store) -> None:
    contexts = contexts_of(config)
    assert contexts.challenge(NAME) is None
    file = store.keep_challenge(NAME, challenge_certificate(NAME, "token.thumbprint"))
    contexts.refresh({NAME: str(file)})
    server = contexts.challenge(NAME.upper())
    assert server is not None
    client = Client(protocols=(PROTOCOL,))
    connected = client.connect(server)
    assert connected.selected_alpn_protocol() == "acme-tls/1"
    certificate = x509.load_der_x509_certificate(connected.getpeercert(True) or b"")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    proof = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert proof.critical
    # RFC 8737 section 3: an OCTET STRING with the SHA-256 digest of the key authorization.
    assert proof.value.public_bytes() == b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest()
    contexts.refresh({})
    assert contexts.challenge(NAME) is None


def test_a_challenge_whose_file_is_gone_is_an_error_and_certificates_are_loaded_all_the_same(
    config: Config, store: Store
) -> None:
    contexts = contexts_of(config)
    store.keep_certificate(NAME, bundle())
    with pytest.raises(TlsError, match="No such file"):
        contexts.refresh({NAME: str(store.directory / "gone.pem")})
    assert contexts.certified(NAME)


def test_names_are_the_routes_hosts_that_an_authority_could_certify(tmp_path: Path) -> None:
    hosts = ("b.example.com", "a.example.com", "192.0.2.1", "[::1]", "localhost", "b.example.com")
    config = configured(tmp_path, {"acme": {}}, hosts)
    assert [each.name for each in managed_certificates(config)] == ["b.example.com", "a.example.com"]


def test_names_that_are_listed_go_before_the_routes(tmp_path: Path) -> None:
    config = configured(tmp_path, {"acme": {"names": ["only.example.com"]}}, ("*.example.com",))
    assert [each.names for each in managed_certificates(config)] == [("only.example.com",)]


def test_names_of_certificates_that_are_given_are_left_to_them(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue(["given.example.com", "*.wild.example.com"]).write(tmp_path, "given")
    given = {"certificates": [{"cert": cert, "key": key}], "acme": {}}
    hosts = (NAME, "given.example.com", "a.wild.example.com")
    config = configured(tmp_path, given, hosts)
    assert [each.name for each in managed_certificates(config)] == [NAME]
    contexts = contexts_of(config)
    assert contexts.certified("given.example.com")
    assert contexts.choose("unknown.example.com") is contexts.choose("given.example.com")


def test_without_a_directory_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tables = {"server": {"tls_listen": [":443"]}, "tls": {"acme": True}, "routes": [{"host": NAME, "respond": {}}]}
    assert build_contexts(build(tables)) is None
    assert list(tmp_path.iterdir()) == []


def test_the_internal_certificate_is_made_at_once_for_every_name(tmp_path: Path) -> None:
    hosts = ("*.dev.test", NAME, "[::2]")
    config = configured(tmp_path, {"internal": True}, hosts)
    contexts = contexts_of(config)
    names = shown(contexts.choose(NAME)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "*.dev.test", NAME}
    assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1", "::2"}
    assert all(contexts.certified(name) for name in (NAME, "a.dev.test", "localhost", "127.0.0.1"))


def test_the_internal_certificate_stays_until_the_names_change(tmp_path: Path) -> None:
    config = configured(tmp_path, {"internal": True})
    first = shown(contexts_of(config).choose(NAME))
    assert shown(contexts_of(config).choose(NAME)) == first
    more = configured(tmp_path, {"internal": True}, (NAME, "more.example.com"))
    second = shown(contexts_of(more).choose(NAME))
    assert second != first
    assert second.issuer == first.issuer


def test_a_damaged_internal_root_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    config = configured(tmp_path, {"internal": True})
    contexts_of(config)
    write_private(tmp_path / "state" / "internal" / "root.key", DevelopmentAuthority().key)
    with pytest.raises(TlsError, match=r"root\.pem: the key does not belong .* remove it and root\.key"):
        contexts_of(config)
