"""Clients told by the certificate of their TLS connection: whom it names, until when, and whether it was revoked."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.protocols.memo import Memo

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import Answer
    from edgewise.gateway.revocation import RevocationLists

_EXPIRED = Denial(403, "auth", "The client certificate has expired.")
_REVOKED = Denial(403, "auth", "The client certificate was revoked.")
_UNREADABLE = Denial(403, "auth", "The client certificate cannot be read.")
_NAMELESS = Denial(403, "auth", "The client certificate names nobody.")
_STRANGER = Denial(403, "auth", "The client certificate is none of those that are let in.")
_AMBIGUOUS = Denial(403, "auth", "The client certificate has several names where one is needed.")
_SINGLE = ("cn", "uri")
"""Kinds of name of which there is one (for URIs: SPIFFE X.509-SVID section 2)."""
_KEPT, _LONGEST = 1024, 4096
"""Certificates whose reading is remembered, and their bytes at most."""


class Rules(NamedTuple):
    """Whom certificates name. A name that ends in `*` stands for all that begin as it does."""

    name: str
    """What names the sender: cn, dns, email, uri or subject."""
    only: tuple[str, ...] = ()
    """Who may come; none: everybody."""
    map: Mapping[str, str] = {}
    groups: Mapping[str, list[str]] = {}
    unit_groups: bool = False
    """Organisational units are groups."""


class Reading(NamedTuple):
    """What a certificate says, by some rules."""

    verdict: Identity | Denial
    issuer: bytes
    """Distinguished name (DER)."""
    serial: int


class ClientCertificates:
    """The way `client_certificate` of `auth`."""

    challenge = b""

    def __init__(self, rules: Rules, revoked: RevocationLists | None) -> None:
        self._rules = rules
        self._revoked = revoked
        self._readings: Memo[Reading] = Memo(self._read, entries=_KEPT, longest=_LONGEST)

    def authenticate(self, exchange: Exchange) -> Identity | Denial | None:
        """Return whom the connection's certificate names; None where the request's host asked for none.

        A host that asks for certificates is only served on connections whose handshake asked for the same (else 421).
        What another host's authority vouches for says nothing here.
        """
        if not exchange.plan.tls_key:
            return None
        certificate = exchange.client.certificate()
        if not certificate:
            return None
        reading = self._readings[certificate]
        if isinstance(reading.verdict, Denial):
            return reading.verdict
        if reading.verdict.expires <= time():
            return _EXPIRED
        if self._revoked is not None and (reading.issuer, reading.serial) in self._revoked.found:
            return _REVOKED
        return reading.verdict

    def begin(self, exchange: Exchange) -> Answer | None:
        """Nothing can be done: the handshake is over."""
        return None

    def _read(self, der: bytes) -> Reading:
        try:
            certificate = x509.load_der_x509_certificate(der)
            return Reading(self._verdict(certificate), certificate.issuer.public_bytes(), certificate.serial_number)
        except ValueError:  # OpenSSL is more forgiving than the parser
            return Reading(_UNREADABLE, b"", 0)

    def _verdict(self, certificate: x509.Certificate) -> Identity | Denial:
        rules = self._rules
        names = names_of(certificate)
        named = names[rules.name]
        if not named or not all(map(_printable, named)):
            return _NAMELESS
        if len(named) > 1 and rules.name in _SINGLE:
            return _AMBIGUOUS
        name = named[0]
        if rules.only and not any(_fits(pattern, name) for pattern in rules.only):
            return _STRANGER
        groups = {group for pattern, some in rules.groups.items() if _fits(pattern, name) for group in some}
        if rules.unit_groups:
            groups |= {unit for unit in names["unit"] if _printable(unit)}
        fitting = [pattern for pattern in rules.map if _fits(pattern, name)]
        return Identity(
            rules.map[max(fitting, key=lambda pattern: (pattern == name, len(pattern)))] if fitting else name,
            "client_certificate",
            groups=frozenset(groups),
            claims={
                "subject": names["subject"][0] if names["subject"] else "",
                "issuer": certificate.issuer.rfc4514_string(),
                "serial": f"{certificate.serial_number:x}",
                "fingerprint": certificate.fingerprint(SHA256()).hex(),
                **{kind: names[kind] for kind in ("dns", "email", "uri") if names[kind]},
            },
            expires=certificate.not_valid_after_utc.timestamp(),
        )


def names_of(certificate: x509.Certificate) -> dict[str, list[str]]:
    """Return the names in a certificate by kind: cn, unit, subject, dns, email, uri. Raises ValueError."""
    subject = certificate.subject
    found = {
        "cn": [str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)],
        "unit": [str(name.value) for name in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)],
        "subject": [text] if (text := subject.rfc4514_string()) else [],
        "dns": [],
        "email": [],
        "uri": [],
    }
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    found["dns"] = others.get_values_for_type(x509.DNSName)
    found["email"] = others.get_values_for_type(x509.RFC822Name)
    found["uri"] = others.get_values_for_type(x509.UniformResourceIdentifier)
    return found


def _printable(name: str) -> bool:
    """Is it a name that can stand in a log line and a field?"""
    return bool(name) and name.isprintable()


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
