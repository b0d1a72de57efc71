"""The keys and certificates of one throw-away control plane: made in milliseconds, valid for a few days.

The extensions (key usage, key identifiers) are complete because Python 3.13 verifies them strictly.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=7)
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")


@dataclass(frozen=True)
class KeyPair:
    """Paths of a PEM certificate and its private key."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """One certificate authority, and the certificates it signs, in one directory."""

    def __init__(self, directory: Path) -> None:
        """Make the authority's own key and certificate in `directory` (which exists)."""
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "testcluster-ca")])
        certificate = self._signed(
            self._name,
            self._key,
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (_key_usage(authority=True), True),
            ],
        )
        self.pair = self._write("ca", certificate, self._key)

    def server(self, name: str, *more: str) -> KeyPair:
        """A server certificate for the API server's names, loopback and `more` addresses."""
        wanted = dict.fromkeys([*_SERVER_ADDRESSES, *more])
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in wanted]
        names = x509.SubjectAlternativeName([*(x509.DNSName(entry) for entry in _SERVER_NAMES), *addresses])
        return self._leaf(name, name, (), ExtendedKeyUsageOID.SERVER_AUTH, [(names, False)])

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: Kubernetes takes `user` from the common name and `groups` from the organisations."""
        return self._leaf(name, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _leaf(
        self,
        name: str,
        common_name: str,
        organisations: Sequence[str],
        purpose: x509.ObjectIdentifier,
        more: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, entry) for entry in organisations]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(authority=False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            *more,
        ]
        return self._write(name, self._signed(subject, key, extensions), key)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))  # a laptop's clock may be a little off after sleep
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private_key(pair.key, key)
        return pair


def signing_key(directory: Path) -> tuple[Path, Path]:
    """A key pair that signs ServiceAccount tokens: paths of the private and the public key."""
    private, public = directory / "sa.key", directory / "sa.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    _write_private_key(private, key)
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )
    return private, public


def _write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
