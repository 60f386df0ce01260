"""Connections to upstreams verify the server by default, with real handshakes in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edgewise.config.schema import Certificate, Tls, UpstreamTls
from edgewise.tls.contexts import ContextSet
from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.errors import TlsError
from edgewise.tls.upstream import upstream_context

AUTHORITY = DevelopmentAuthority()


@pytest.fixture
def origin(tmp_path: Path) -> ssl.SSLContext:
    certificate, key = AUTHORITY.issue(["app.internal", "127.0.0.1"]).write(tmp_path, "app")
    AUTHORITY.write(tmp_path)
    return ContextSet(Tls(certificates=[Certificate(cert=certificate, key=key)])).choose(None)


def connect(server: ssl.SSLContext, settings: UpstreamTls, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepted = server.wrap_bio(to_server, to_client, server_side=True)
    connected = upstream_context(settings).wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(3):
        for side in (connected, accepted):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return connected, accepted


@pytest.mark.parametrize("name", ["app.internal", "127.0.0.1"])
def test_a_server_of_a_trusted_authority_is_accepted_by_its_name(
    origin: ssl.SSLContext, tmp_path: Path, name: str
) -> None:
    connected, _ = connect(origin, UpstreamTls(ca=str(tmp_path / "authority.pem")), name)
    assert connected.version() == "TLSv1.3"
    assert connected.selected_alpn_protocol() == "http/1.1"


def test_another_name_than_the_certificates_is_refused(origin: ssl.SSLContext, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        connect(origin, UpstreamTls(ca=str(tmp_path / "authority.pem")), "other.internal")


def test_the_system_does_not_trust_a_private_authority(origin: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(origin, UpstreamTls(), "app.internal")


def test_verification_can_be_turned_off(origin: ssl.SSLContext) -> None:
    connected, _ = connect(origin, UpstreamTls(verify=False), "whatever.internal")
    assert connected.version() == "TLSv1.3"


def test_a_client_certificate_is_presented(tmp_path: Path) -> None:
    certificate, key = AUTHORITY.issue(["app.internal"]).write(tmp_path, "app")
    client, client_key = AUTHORITY.issue(["edge"], client=True).write(tmp_path, "edge")
    authority = AUTHORITY.write(tmp_path)
    tls = Tls(certificates=[Certificate(cert=certificate, key=key)], client_auth="required", client_ca=authority)
    server = ContextSet(tls).choose(None)
    _, accepted = connect(server, UpstreamTls(ca=authority, cert=client, key=client_key), "app.internal")
    presented = accepted.getpeercert()
    assert presented
    assert presented["subjectAltName"] == (("DNS", "edge"),)


def test_a_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    certificate, _ = AUTHORITY.issue(["edge"], client=True).write(tmp_path, "edge")
    with pytest.raises(TlsError, match="needs both cert and key"):
        upstream_context(UpstreamTls(verify=False, cert=certificate))


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"missing\.pem: No such file"):
        upstream_context(UpstreamTls(ca=str(tmp_path / "missing.pem")))


def test_keys_are_written_for_their_owner_only(tmp_path: Path) -> None:
    _, key = AUTHORITY.issue(["app.internal"]).write(tmp_path, "app")
    assert Path(key).stat().st_mode & 0o777 == 0o600
