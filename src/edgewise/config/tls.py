"""The tables of TLS: certificates given, certificates that edgewise gets by itself, what is asked of clients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from edgewise.config.types import (
    Age,
    CertificateName,
    FileName,
    HostName,
    HttpsUrl,
    Model,
    Port,
    PositiveDuration,
    Text,
)

ClientAuth = Literal["none", "optional", "required"]
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names of every certificate of the internal authority, beside the routes'."""
_IPV4 = re.compile(r"[0-9.]+")


class Certificate(Model):
    """A certificate and its key."""

    cert: FileName
    """File of the certificate chain (PEM)."""
    key: FileName
    """File of the key (PEM)."""
    hosts: list[HostName] = Field(default=[])
    """Host names to use it for; by default those in the certificate."""


class TlsHost(Model):
    """Client certificates of one host name, in place of what [tls] says."""

    client_auth: ClientAuth = "none"
    """Whether clients are asked for a certificate."""
    client_ca: FileName | None = None
    """File of the authorities whose client certificates are accepted; by default that of [tls]."""


class ExternalAccount(Model):
    """Binding to an account at the authority that exists already (RFC 8555 section 7.3.4)."""

    key_id: Text
    """Key identifier that the authority gave."""
    hmac_key: Text
    """Key that the authority gave (base64url)."""


class Acme(Model):
    """Certificates from an ACME authority (RFC 8555). To use it is to agree to the authority's terms of service."""

    email: Text | None = None
    """Address where the authority may write to."""
    directory: HttpsUrl = LETS_ENCRYPT
    """URL of the authority's directory."""
    ca_file: FileName | None = None
    """File of the authorities that vouch for the directory's own server; by default the system's."""
    names: list[CertificateName] = Field(default=[])
    """Host names to get certificates for; by default the hosts of the routes."""
    challenges: Annotated[list[Literal["tls-alpn-01", "http-01"]], Field(min_length=1)] = Field(
        default=["tls-alpn-01", "http-01"]
    )
    """Ways to prove that a name is ours, tried in this order."""
    key_type: Literal["ec256", "rsa2048"] = "ec256"
    """Kind of the certificates' keys."""
    external_account: ExternalAccount | None = None
    """Binding to an account that exists already, where the authority wants one."""
    retry: PositiveDuration = 60.0
    """Wait after a first failure; three times as long after each further one, up to 12 hours."""


def _switch(value: Any) -> Any:
    """Take true for a table of defaults, false for none."""
    return {} if value is True else None if value is False else value


def _age_is_table(value: Any) -> Any:
    return {"max_age": value} if isinstance(value, str | int) and not isinstance(value, bool) else value


SWITCH_VALIDATOR, HSTS_VALIDATOR = _switch, _age_is_table


class Hsts(Model):
    """Strict-Transport-Security (RFC 6797): browsers that saw it use HTTPS alone."""

    max_age: Age
    """How long browsers remember it."""
    include_subdomains: bool = False
    """Names below the host too."""
    preload: bool = False
    """Agree to be in the list that browsers come with."""


class Tls(Model):
    """Certificates and TLS settings of tls_listen."""

    certificates: list[Certificate] = Field(default=[])
    """Certificates, chosen by the name the client asks for; the first is the default."""
    acme: Annotated[Acme | None, BeforeValidator(SWITCH_VALIDATOR)] = None
    """Get certificates from an ACME authority; true: from Let's Encrypt, for the hosts of the routes."""
    internal: bool = False
    """Use certificates of an authority of this machine's own, for development (see `edgewise trust`)."""
    directory: FileName | None = None
    """Where acme and internal keep keys and certificates; by default `tls` in the state directory."""
    redirect: bool = False
    """Send plain HTTP requests for hosts that have a certificate to HTTPS (308)."""
    redirect_port: Port | None = None
    """Port of the URLs that redirect leads to; by default that of the first address of tls_listen."""
    hsts: Annotated[Hsts | None, BeforeValidator(HSTS_VALIDATOR)] = None
    """Strict-Transport-Security on the routes' answers over TLS: max_age, or a table."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """Oldest TLS version accepted."""
    client_auth: ClientAuth = "none"
    """Whether clients are asked for a certificate (mTLS)."""
    client_ca: FileName | None = None
    """File of the authorities whose client certificates are accepted."""
    hosts: dict[HostName, TlsHost] = Field(default={})
    """Client certificates by host name."""


def public_names(hosts: Iterable[str]) -> list[str]:
    """Return the host patterns of routes that an ACME authority could certify by the challenges there are.

    Left out are wildcards, IP addresses, and names without a dot such as localhost.
    """
    found = [host for host in hosts if "." in host and host[0] not in "*[" and not _IPV4.fullmatch(host)]
    return list(dict.fromkeys(found))


def internal_names(hosts: Iterable[str]) -> list[str]:
    """Return the names for the certificate of the internal authority: all of the routes' hosts, and localhost."""
    return list(dict.fromkeys([*LOCAL_NAMES, *(host.strip("[]") for host in hosts)]))
