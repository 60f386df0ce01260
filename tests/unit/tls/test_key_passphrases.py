"""A key with a passphrase is refused; nobody is there to be asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edgewise.config.schema import Certificate, Tls
from edgewise.tls.contexts import ContextSet
from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.errors import TlsError


def test_an_encrypted_key_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    pair = DevelopmentAuthority().issue(["shop.example.com"])
    certificate, key = pair.write(tmp_path, "shop")
    private = load_pem_private_key(pair.key, None)
    encryption = BestAvailableEncryption(b"secret")
    Path(key).write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(TlsError, match="the key is encrypted") as caught:
        ContextSet(Tls(certificates=[Certificate(cert=certificate, key=key)]))
    assert str(caught.value).startswith(f"{key}: ")
