"""Whom a client's certificate names, by which rules, until when, and whether a revocation list names it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.gateway.certificates import ClientCertificates, Rules
from edgewise.gateway.revocation import RevocationLists

KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
NOW = datetime.now(UTC).replace(microsecond=0)


def certificate(*subject: tuple[x509.ObjectIdentifier, str], others: list[x509.GeneralName] | None = None,
                serial: int = 0x2A, ends: timedelta = timedelta(hours=1)) -> bytes:  # fmt: skip
    """Return a certificate (DER)."""
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = x509.CertificateBuilder(ISSUER, name, KEY.public_key(), serial, NOW - timedelta(days=9), NOW + ends)
    if others:
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def revocations(*serials: int, issuer: x509.Name = ISSUER) -> x509.CertificateRevocationList:
    """Return a revocation list."""
    builder = x509.CertificateRevocationListBuilder(issuer, NOW - timedelta(days=1), NOW + timedelta(days=1))
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW).build())
    return builder.sign(KEY, hashes.SHA256())


def exchange(der: bytes, tls_key: str | None = "required:ca.pem") -> Any:
    """Return what the way looks at of a request."""
    return SimpleNamespace(plan=SimpleNamespace(tls_key=tls_key), client=SimpleNamespace(certificate=lambda: der))


def told(der: bytes, revoked: RevocationLists | None = None, **rules: Any) -> Any:
    """Return what the way says of a certificate."""
    return ClientCertificates(Rules(**{"name": "cn"} | rules), revoked).authenticate(exchange(der))


ALICE = certificate((NameOID.ORGANIZATIONAL_UNIT_NAME, "staff"), (NameOID.COMMON_NAME, "alice"))
SPIFFE = "spiffe://example.org/ns/prod/shop"
WORKLOAD = certificate(
    others=[x509.UniformResourceIdentifier(SPIFFE), x509.DNSName("shop.internal"), x509.RFC822Name("s@example.org")]
)


def test_the_common_name_names_the_sender_until_the_certificate_ends() -> None:
    identity = told(ALICE)
    assert isinstance(identity, Identity)
    assert (identity.name, identity.method, identity.groups) == ("alice", "client_certificate", frozenset())
    assert identity.expires == (NOW + timedelta(hours=1)).timestamp()
    loaded = x509.load_der_x509_certificate(ALICE)
    assert identity.claims == {
        "subject": "CN=alice,OU=staff",
        "issuer": "CN=authority",
        "serial": "2a",
        "fingerprint": loaded.fingerprint(hashes.SHA256()).hex(),
    }


@pytest.mark.parametrize(
    ("kind", "name"), [("uri", SPIFFE), ("dns", "shop.internal"), ("email", "s@example.org")]
)  # fmt: skip
def test_alternative_names_name_the_sender_and_are_claims(kind: str, name: str) -> None:
    identity = told(WORKLOAD, name=kind)
    assert identity.name == name
    assert identity.claims[kind] == [name]


def test_the_whole_subject_can_be_the_name() -> None:
    assert told(ALICE, name="subject").name == "CN=alice,OU=staff"


def test_a_certificate_without_the_name_that_is_asked_for_lets_nobody_in() -> None:
    for der, kind in ((ALICE, "uri"), (ALICE, "dns"), (WORKLOAD, "cn"), (WORKLOAD, "subject")):
        assert told(der, name=kind).status == 403


def test_names_that_are_several_or_not_printable_let_nobody_in() -> None:
    two = certificate((NameOID.COMMON_NAME, "alice"), (NameOID.COMMON_NAME, "root"))
    assert told(two).status == 403
    uris = [x509.UniformResourceIdentifier(one) for one in ("spiffe://a/b", "spiffe://a/c")]
    assert told(certificate(others=list(uris)), name="uri").status == 403
    for name in ("alice\r\nX-User: root", "alice\0", "alice\u2028"):
        assert told(certificate((NameOID.COMMON_NAME, name))).status == 403


def test_names_that_may_come_are_matched_whole_or_by_their_beginning() -> None:
    assert told(ALICE, only=("alice",)).name == "alice"
    assert told(ALICE, only=("bob", "al*")).name == "alice"
    for only in (("alic",), ("Alice",), ("alice2",), ("lice",)):
        assert told(ALICE, only=only).status == 403


def test_the_longest_entry_that_fits_says_what_the_sender_is_called() -> None:
    names = {"spiffe://example.org/*": "any", "spiffe://example.org/ns/prod/*": "prod"}
    assert told(WORKLOAD, name="uri", map=names).name == "prod"
    assert told(WORKLOAD, name="uri", map=names | {SPIFFE: "shop"}).name == "shop"
    assert told(ALICE, map={"bob": "robert"}).name == "alice"


def test_groups_are_those_of_all_entries_that_fit_and_of_units_where_asked() -> None:
    groups = {"alice": ["admins"], "a*": ["a", "b"], "bob": ["c"]}
    assert told(ALICE, groups=groups).groups == {"admins", "a", "b"}
    assert told(ALICE, unit_groups=True, groups={"alice": ["admins"]}).groups == {"admins", "staff"}


def test_a_certificate_that_ended_since_the_handshake_is_refused() -> None:
    ended = told(certificate((NameOID.COMMON_NAME, "alice"), ends=-timedelta(seconds=1)))
    assert isinstance(ended, Denial)
    assert ended.status == 403


def test_a_certificate_counts_for_hosts_that_ask_for_one_only() -> None:
    way = ClientCertificates(Rules("cn"), None)
    assert way.authenticate(exchange(ALICE, tls_key="")) is None
    assert way.authenticate(exchange(ALICE, tls_key=None)) is None
    assert way.authenticate(exchange(b"")) is None
    assert way.begin(exchange(b"")) is None


def test_what_is_no_certificate_is_refused() -> None:
    assert told(b"0\x03\x02\x01\x01").status == 403


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_who_is_on_a_revocation_list_of_its_issuer_is_refused(tmp_path: Path, encoding: Encoding) -> None:
    other = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another authority")])
    (tmp_path / "own.crl").write_bytes(revocations(7, 0x2A).public_bytes(encoding))
    (tmp_path / "other.crl").write_bytes(revocations(9, issuer=other).public_bytes(encoding))
    lists = RevocationLists([str(tmp_path / "own.crl"), str(tmp_path / "other.crl")])
    assert told(ALICE, lists).status == 403
    assert told(certificate((NameOID.COMMON_NAME, "bob"), serial=9), lists).name == "bob"


def test_a_revocation_list_that_changed_is_read_again_and_a_broken_one_holds_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "own.crl"
    file.write_bytes(revocations(7).public_bytes(Encoding.PEM))
    lists = RevocationLists([str(file)])
    way = ClientCertificates(Rules("cn"), lists)
    assert isinstance(way.authenticate(exchange(ALICE)), Identity)
    new = tmp_path / "new"
    new.write_bytes(revocations(7, 0x2A).public_bytes(Encoding.PEM))
    os.replace(new, file)
    lists.refresh()
    assert isinstance(way.authenticate(exchange(ALICE)), Denial)
    file.write_bytes(b"half a list")
    lists.refresh()
    file.unlink()
    lists.refresh()
    assert isinstance(way.authenticate(exchange(ALICE)), Denial)


def test_a_file_that_is_no_revocation_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.crl").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"own\.crl: no revocation list"):
        RevocationLists([str(tmp_path / "own.crl")])
