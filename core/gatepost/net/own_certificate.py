"""The certificate that a server without a public name signs for itself.

One PEM file holds key and certificate, so that they can never disagree; it is
written at once (temporary file, fsync, rename) and readable by its owner only.

The file is made again when it is missing, when the names changed and when
less than `RENEWAL` of its life is left. The pin changes with it: whoever pins
`OwnCertificate.pin` must be told the new one, as nodes are by their next map.
So it lives long. It is dated back to `FIRST_DAY`, because a box without a
clock battery starts in 1970, and no date in a pinned certificate proves
anything.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gatepost.errors import SettingsError, StateError
from gatepost.net.tls import EARLIEST_NOW, PIN_PREFIX, fingerprint

FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(days=3650)
RENEWAL = timedelta(days=90)
_NAME_LENGTH = 253  # octets, RFC 1035
_COMMON_NAME_LENGTH = 64  # characters, X.520


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """`path` holds key and certificate in PEM; `leaf` is the certificate in DER."""

    path: Path
    leaf: bytes
    expiry: datetime

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, 64 lower-case hexadecimal digits."""
        return fingerprint(self.leaf)

    @property
    def pin(self) -> str:
        """What goes into the DERP map as the certificate's name."""
        return PIN_PREFIX + self.fingerprint


def own_certificate(path: Path, names: Sequence[str], now: datetime) -> OwnCertificate:
    """Return the certificate at `path` for `names` (host names or addresses), made if need be.

    `now` has a time zone. Raise `SettingsError` for a name that cannot stand in
    a certificate, `StateError` when the file is there but not usable.
    """
    wanted = frozenset(_general_name(name) for name in names)
    if not wanted:
        raise SettingsError("a certificate needs at least one host name or address")
    found = _read(path)
    if found is not None and _names_of(found) == wanted and _is_fresh(found, now):
        return _described(path, found)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _sign(key, list(dict.fromkeys(_general_name(n) for n in names)), names[0], now)
    _write(path, key, made)
    return _described(path, made)


def _described(path: Path, certificate: x509.Certificate) -> OwnCertificate:
    leaf = certificate.public_bytes(serialization.Encoding.DER)
    return OwnCertificate(path=path, leaf=leaf, expiry=certificate.not_valid_after_utc)


def _is_fresh(certificate: x509.Certificate, now: datetime) -> bool:
    return max(now, EARLIEST_NOW) + RENEWAL < certificate.not_valid_after_utc


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    host = name.rstrip(".").lower()
    if not host.isascii() or not 0 < len(host) <= _NAME_LENGTH or set(host) & set(" /:@[]*"):
        raise SettingsError(
            f"{name!r} cannot stand in a certificate; give a host name or an address without port"
        )
    return x509.DNSName(host)


def _names_of(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return frozenset(found.value)


def _sign(
    key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], title: str, now: datetime
) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, title.lower()[:_COMMON_NAME_LENGTH])]
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(FIRST_DAY)
        .not_valid_after(max(now, EARLIEST_NOW) + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )


def _read(path: Path) -> x509.Certificate | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error}") from error
    try:
        key = serialization.load_pem_private_key(text, None)
        certificate = x509.load_pem_x509_certificate(text)
        _names_of(certificate)
        if key.public_key() != certificate.public_key():
            raise ValueError("the key is not the certificate's")  # noqa: TRY301  # same way out
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise StateError(
            f"{path} is not a key and its certificate: {error}; "
            "remove the file to have a new one made, with a new pin"
        ) from error
    return certificate


def _write(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error}") from error
