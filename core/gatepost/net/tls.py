"""TLS as the mesh uses it: whom to trust, and the certificate of a server without a public name.

An appliance in a LAN has no name that a public authority would sign. So it
signs its own certificate, and the coordination server tells every node the
SHA-256 of it (`sha256-raw:…` in the DERP map): the node trusts exactly that one.
Source: protocol document 1.16 and 3.4.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509

from gatepost.errors import Malformed, SettingsError, Unauthentic
from gatepost.model.netmap import DerpNode

PIN_PREFIX = "sha256-raw:"
META_PREFIX = "derpkey"  # common name of the extra certificate with which derper announces its key
EARLIEST_NOW = datetime(2025, 1, 1, tzinfo=UTC)  # a clock before this one is not set yet
_META_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13].derpkey", re.DOTALL)  # OID 2.5.4.3
_PIN_DIGITS = 64
_DERP_VERSION = 2  # serial number of the extra certificate
_ALPN = ["http/1.1"]  # h2 has neither Upgrade nor hand-over


@dataclass(frozen=True, slots=True)
class SystemRoots:
    """Trust what the operating system trusts, for this host name or address."""

    name: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """Trust one certificate: `fingerprint` is the SHA-256 of its DER form, 64 lower-case digits.

    It must also be valid today, as far as the clock can tell, and bear `name`, unless that is
    empty.
    """

    fingerprint: str
    name: str


@dataclass(frozen=True, slots=True)
class Insecure:
    """Trust anybody. DERP payloads are sealed end to end, so only traffic analysis is at stake."""

    name: str


Trust = SystemRoots | Pinned | Insecure


def trust_of(node: DerpNode) -> Trust:
    """Say what a DERP map asks for; raise `Malformed` for a pin that is not one."""
    if node.insecure:
        return Insecure(node.host)
    if node.certificate_name.startswith(PIN_PREFIX):
        return Pinned(read_pin(node.certificate_name), node.host)
    return SystemRoots(node.certificate_name or node.host)


def read_pin(text: str) -> str:
    """Return the 64 digits of `sha256-raw:<digits>`; raise `Malformed`."""
    digits = text.removeprefix(PIN_PREFIX)
    if len(digits) != _PIN_DIGITS or set(digits) - set("0123456789abcdef"):
        raise Malformed(f"{text[:90]!r} is not {PIN_PREFIX} and 64 lower-case hexadecimal digits")
    return digits


def client_context(trust: Trust) -> ssl.SSLContext:
    """Make the context for connections under `trust`. Costs 10 ms for system roots: keep it.

    For `Pinned`, OpenSSL checks nothing: `check_server` must be called after
    the handshake, before the first byte is sent.
    """
    if isinstance(trust, SystemRoots):
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    return context


def check_server(connection: ssl.SSLObject, trust: Trust, now: datetime) -> None:
    """Raise `Unauthentic` unless the other end is who `trust` says. `now` has a time zone."""
    if isinstance(trust, Pinned):
        check_chain(_chain_of(connection), trust, now)


def can_start_fast(connection: ssl.SSLObject) -> bool:
    """Say whether a DERP server's certificates tell its key, so that it need not answer HTTP."""
    if connection.version() != "TLSv1.3":
        return False
    last = _chain_of(connection)[-1:]
    return any(_is_meta(raw) and _parse(raw).serial_number == _DERP_VERSION for raw in last)


def check_chain(chain: Sequence[bytes], trust: Pinned, now: datetime) -> None:
    """Check the certificates that a server sent (DER, leaf first) as `check_server` does."""
    own = [(raw, _parse(raw)) for raw in chain if not _is_meta(raw)]
    if len(own) != 1:
        raise Unauthentic(f"the server sent {len(own)} certificates where one is pinned")
    raw, certificate = own[0]
    if fingerprint(raw) != trust.fingerprint:
        raise Unauthentic(
            f"the server's certificate is {fingerprint(raw)}, pinned is {trust.fingerprint}"
        )
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last and now >= EARLIEST_NOW:  # else nobody knows what day it is
        raise Unauthentic(
            f"the server's certificate is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"and this machine's clock says {now:%Y-%m-%d}"
        )
    if trust.name and not _bears(certificate, trust.name):
        raise Unauthentic(f"the server's certificate is not for {trust.name}")


def fingerprint(leaf: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form, as pins are written: lower-case digits."""
    return hashlib.sha256(leaf).hexdigest()


def server_context(
    certificate: Path, key: Path | None = None, *, more: bytes = b""
) -> ssl.SSLContext:
    """Make a listener's context from PEM files; the key may stand in the certificate's file.

    `more` is certificates in PEM to send behind the chain.

    TLS 1.2 or newer. The client's cipher order is followed, because a client
    without AES instructions knows better; no session tickets, because a relay's
    connections live for days. Raise `SettingsError` with the file and the way out.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(_ALPN)
    try:
        with _appended(certificate, more) as chain:
            context.load_cert_chain(chain, key or certificate)
    except OSError as error:  # also ssl.SSLError
        raise SettingsError(
            f"certificate {certificate} with key {key or certificate} cannot be used: {error}; "
            "give PEM files that belong together and that this user may read"
        ) from error
    return context


@contextlib.contextmanager
def _appended(certificate: Path, more: bytes) -> Generator[Path]:
    """Give a file with more certificates at its end: OpenSSL reads nothing else."""
    if not more:
        yield certificate
        return
    handle = os.memfd_create("certificates")
    try:
        os.write(handle, certificate.read_bytes() + b"\n" + more)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _chain_of(connection: ssl.SSLObject) -> list[bytes]:
    """Return what the server sent, DER, leaf first. Public since Python 3.13 only."""
    public: Callable[[], list[bytes]] | None = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    inner: Any = getattr(connection, "_sslobj")  # noqa: B009  # private in 3.11 and 3.12, untyped
    return [ssl.PEM_cert_to_DER_cert(c.public_bytes()) for c in inner.get_unverified_chain() or ()]


def _parse(raw: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(raw)
    except ValueError as error:
        raise Unauthentic(f"the server's certificate cannot be read: {error}") from error


def _is_meta(raw: bytes) -> bool:
    """Tell a relay's extra certificate by its common name, which is longer than X.520 allows."""
    return _META_NAME.search(raw) is not None


def _bears(certificate: x509.Certificate, name: str) -> bool:
    """Look for a host name or address among the subject's alternative names (RFC 6125)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    with contextlib.suppress(ValueError):
        return ip_address(name) in extension.value.get_values_for_type(x509.IPAddress)
    wanted = name.lower().rstrip(".")
    under = "*." + wanted.partition(".")[2]
    held = {n.lower().rstrip(".") for n in extension.value.get_values_for_type(x509.DNSName)}
    return wanted in held or under in held


def utc_now() -> datetime:
    """Read the clock that certificates are checked by."""
    return datetime.now(UTC)
