"""Certificates made on the spot: no private key lies in the repository."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Authority:
    """A certificate authority that nobody knows.

    Attributes:
        file: Its own certificate, PEM.

    """

    def __init__(self, folder: Path) -> None:
        """Make one; its files and those of what it signs lie in a folder."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("An authority of a test")
        now = datetime.now(UTC)
        unsigned = _builder(self._name, self._name, self._key, (now - _DAY, now + _DAY))
        unsigned = unsigned.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = unsigned.sign(self._key, hashes.SHA256())
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str, *, begins_in: timedelta = -_DAY, ends_in: timedelta = _DAY) -> ssl.SSLContext:
        """Give what a server speaks TLS with, under a certificate for a host, valid from now on as said."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        unsigned = _builder(_named(host), self._name, key, (now + begins_in, now + ends_in))
        unsigned = unsigned.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return self._context(unsigned.sign(self._key, hashes.SHA256()), key)

    def self_signed(self, host: str) -> ssl.SSLContext:
        """Give what a server speaks TLS with that vouches for itself."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        unsigned = _builder(_named(host), _named(host), key, (now - _DAY, now + _DAY))
        unsigned = unsigned.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return self._context(unsigned.sign(key, hashes.SHA256()), key)

    def _context(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        file = self._folder / f"{certificate.serial_number}.pem"
        file.write_bytes(private + certificate.public_bytes(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
