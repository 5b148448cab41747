"""Certificates that nobody else has signed, for servers that stand in for others over TLS."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate, which is its own authority, and its private key; both as PEM."""

    key: bytes
    certificate: bytes


def self_signed(*names: str, valid_for: datetime.timedelta = _VALID) -> Certificate:
    """Make a certificate for hosts: names or addresses; for 127.0.0.1 and localhost where none is given.

    Args:
        names: Of the hosts.
        valid_for: Until when, from now on; it may be over.
    """
    hosts = [_host(name) for name in names or ("127.0.0.1", "localhost")]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"the tests' {' '.join(names)}")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return Certificate(private, made.public_bytes(pem))


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
