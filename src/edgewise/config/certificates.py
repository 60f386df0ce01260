"""The table that says whom a client's certificate names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgewise.config.types import FileName, Model, Text


class ClientCertificate(Model):
    """Whom a client's certificate names; only one that the host's own `client_ca` vouches for counts (tls.md).

    A name may end in `*`, which stands for any rest; of several that fit, the longest counts.
    """

    name: Literal["cn", "dns", "email", "uri", "subject"] = "cn"
    """What names the sender: the common name, the first DNS name, e-mail address or URI (SPIFFE) of the
    alternative names, or the whole subject (RFC 4514)."""
    only: list[Text] = Field(default=[])
    """Names that may come; none: all that the authority vouches for."""
    map: dict[Text, Text] = Field(default={})
    """Name in the certificate = name the sender goes by."""
    groups: dict[Text, list[Text]] = Field(default={})
    """Name in the certificate = groups of the sender; those of all entries that fit."""
    unit_groups: bool = False
    """Organisational units (OU) of the subject are groups too."""
    revoked: list[FileName] = Field(default=[])
    """Certificate revocation lists (RFC 5280; PEM or DER), looked at again every 30 seconds."""
