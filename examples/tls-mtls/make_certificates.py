"""Writes a test authority, a server certificate for two host names and a client certificate, valid for a week.

    python make_certificates.py [DIRECTORY]

For trying things out: keys are written unencrypted.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(
    common_name: str, issuer: Pair | None = None, *, client: bool = False, hosts: tuple[str, ...] = ()
) -> Pair:
    """Return a certificate and its key, signed by `issuer`; an authority of its own where there is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(authority_key, critical=False)
    else:
        builder = builder.add_extension(_authority_usage(), critical=True)
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _authority_usage() -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    flags = dict.fromkeys((*others, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **flags)


def write(pair: Pair, directory: Path, name: str) -> None:
    """Write `name.pem` and `name.key`."""
    directory.joinpath(f"{name}.pem").write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    pem = pair[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_file = directory / f"{name}.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(pem)


def main(directory: Path) -> None:
    """Write authority, server and client files into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = certificate("edgewise example authority")
    write(authority, directory, "authority")
    write(certificate("shop.localhost", authority, hosts=("shop.localhost",)), directory, "shop")
    write(certificate("internal.localhost", authority, hosts=("internal.localhost",)), directory, "internal")
    write(certificate("alice", authority, client=True), directory, "alice")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
