"""Certificates of our own, and whom a client believes."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatepost.errors import Malformed, SettingsError, StateError, Unauthentic
from gatepost.model.netmap import DerpNode
from gatepost.net.own_certificate import LIFETIME, RENEWAL, OwnCertificate, own_certificate
from gatepost.net.tls import (
    EARLIEST_NOW,
    Insecure,
    Pinned,
    SystemRoots,
    Trust,
    check_chain,
    check_server,
    client_context,
    fingerprint,
    read_pin,
    server_context,
    trust_of,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ("relay.example", "192.0.2.7", "2001:db8::7")


def born_in_2026() -> bytes:
    """Return a certificate (DER) as other servers make theirs: valid from its making on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + LIFETIME)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


def make(path: Path, *names: str, now: datetime = NOW) -> OwnCertificate:
    return own_certificate(path / "certificate.pem", names or NAMES, now)


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    first = make(tmp_path)

    assert make(tmp_path) == first
    assert make(tmp_path, *reversed(NAMES)) == first


def test_the_key_is_for_its_owner_only_and_nothing_else_is_left(tmp_path: Path) -> None:
    made = make(tmp_path / "new" / "folder")

    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert [p.name for p in made.path.parent.iterdir()] == ["certificate.pem"]


def test_the_pin_is_the_digest_of_what_the_file_holds(tmp_path: Path) -> None:
    made = make(tmp_path)
    held = x509.load_pem_x509_certificate(made.path.read_bytes())

    assert held.public_bytes(serialization.Encoding.DER) == made.leaf
    assert made.pin == "sha256-raw:" + fingerprint(made.leaf)
    assert read_pin(made.pin) == made.fingerprint


def test_other_names_make_a_new_certificate(tmp_path: Path) -> None:
    assert make(tmp_path, "other.example").pin != make(tmp_path, "relay.example").pin


def test_it_is_renewed_before_it_expires(tmp_path: Path) -> None:
    first = make(tmp_path)

    assert make(tmp_path, now=first.expiry - RENEWAL - timedelta(days=1)) == first
    assert make(tmp_path, now=first.expiry - RENEWAL + timedelta(days=1)) != first


def test_a_box_whose_clock_is_at_1970_makes_a_certificate_that_is_valid_today(
    tmp_path: Path,
) -> None:
    made = make(tmp_path, now=datetime(1970, 1, 1, tzinfo=UTC))

    assert made.expiry == EARLIEST_NOW + LIFETIME
    check_chain([made.leaf], Pinned(made.fingerprint, "relay.example"), NOW)


@pytest.mark.parametrize("name", ["", "a b", "relay.example:443", "*.example", "büro.example"])
def test_a_name_that_no_certificate_can_bear_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot stand in a certificate"):
        make(tmp_path, name)


def test_a_certificate_for_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one"):
        own_certificate(tmp_path / "certificate.pem", (), NOW)


@pytest.mark.parametrize("text", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_is_not_a_certificate_names_itself_and_the_way_out(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "certificate.pem").write_text(text)

    with pytest.raises(StateError, match=r"certificate\.pem .* remove the file"):
        make(tmp_path)


def test_a_key_of_another_certificate_is_noticed(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1").path.read_text(), make(tmp_path / "2").path.read_text()
    cut = "-----BEGIN CERTIFICATE-----"
    (tmp_path / "certificate.pem").write_text(one.partition(cut)[0] + cut + two.partition(cut)[2])

    with pytest.raises(StateError, match="not the certificate's"):
        make(tmp_path)


def test_a_directory_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="cannot be"):
        make(tmp_path / "file")


@pytest.mark.parametrize(
    "name", ["relay.example", "RELAY.example.", "192.0.2.7", "2001:db8::7", ""]
)
def test_a_pinned_certificate_is_believed_for_its_names(tmp_path: Path, name: str) -> None:
    made = make(tmp_path)

    check_chain([made.leaf], Pinned(made.fingerprint, name), NOW)


@pytest.mark.parametrize("name", ["other.example", "example", "192.0.2.8", "x.relay.example"])
def test_a_pinned_certificate_is_not_believed_for_other_names(tmp_path: Path, name: str) -> None:
    made = make(tmp_path)

    with pytest.raises(Unauthentic, match="is not for"):
        check_chain([made.leaf], Pinned(made.fingerprint, name), NOW)


def test_a_pinned_certificate_must_be_valid_today(tmp_path: Path) -> None:
    made = make(tmp_path)
    trust = Pinned(made.fingerprint, "relay.example")

    moment = made.expiry + timedelta(seconds=1)
    with pytest.raises(Unauthentic, match=f"clock says {moment:%Y-%m-%d}"):
        check_chain([made.leaf], trust, moment)


def test_a_clock_that_is_not_set_yet_refuses_no_pinned_certificate(
    tmp_path: Path,
) -> None:
    """Ours begins in 1970, for other clients too; a relay's of somebody else does not."""
    made = make(tmp_path)
    foreign = born_in_2026()
    morning = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)

    certificate = x509.load_der_x509_certificate(made.leaf)
    assert certificate.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    check_chain([made.leaf], Pinned(made.fingerprint, "relay.example"), morning)
    check_chain([foreign], Pinned(fingerprint(foreign), ""), morning)


def test_another_certificate_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")

    with pytest.raises(Unauthentic, match="pinned is"):
        check_chain([two.leaf], Pinned(one.fingerprint, "relay.example"), NOW)


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_certificate_is_expected(tmp_path: Path, count: int) -> None:
    made = make(tmp_path)

    with pytest.raises(Unauthentic, match=f"sent {count} certificates"):
        check_chain([made.leaf] * count, Pinned(made.fingerprint, ""), NOW)


def test_the_certificate_with_which_a_relay_announces_its_key_does_not_count(
    tmp_path: Path,
) -> None:
    made, announcing = make(tmp_path / "1"), make(tmp_path / "2", "derpkey" + "0" * 40)

    check_chain([made.leaf, announcing.leaf], Pinned(made.fingerprint, "relay.example"), NOW)


def test_bytes_that_are_no_certificate_are_refused() -> None:
    with pytest.raises(Unauthentic, match="cannot be read"):
        check_chain([b"garbage"], Pinned("0" * 64, ""), NOW)


@pytest.mark.parametrize("pin", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64])
def test_a_pin_has_64_lower_case_digits(pin: str) -> None:
    with pytest.raises(Malformed, match="64 lower-case"):
        read_pin("sha256-raw:" + pin)


@pytest.mark.parametrize(
    ("certificate_name", "insecure", "trust"),
    [
        ("", False, SystemRoots("relay.example")),
        ("other.example", False, SystemRoots("other.example")),
        ("sha256-raw:" + "0" * 64, False, Pinned("0" * 64, "relay.example")),
        ("", True, Insecure("relay.example")),
    ],
)
def test_the_map_says_whom_to_trust(certificate_name: str, *, insecure: bool, trust: Trust) -> None:
    node = DerpNode(
        name="1a", host="relay.example", certificate_name=certificate_name, insecure=insecure
    )

    assert trust_of(node) == trust


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncGenerator[int]:
    """Serve TLS on a free port of the loopback interface."""

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def connect(port: int, trust: Trust) -> ssl.SSLObject:
    """Shake hands, check, and return the TLS side of it."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(trust), server_hostname=trust.name
    )
    found = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    assert isinstance(found, ssl.SSLObject)
    check_server(found, trust, NOW)
    return found


async def test_a_pinned_server_is_reached_over_tls(tmp_path: Path) -> None:
    made = make(tmp_path)
    async with listening(server_context(made.path)) as port:
        connection = await connect(port, Pinned(made.fingerprint, "relay.example"))

    assert connection.version() == "TLSv1.3"
    assert connection.selected_alpn_protocol() == "http/1.1"


async def test_a_server_with_another_certificate_is_refused_over_tls(tmp_path: Path) -> None:
    made = make(tmp_path)
    async with listening(server_context(made.path)) as port:
        with pytest.raises(Unauthentic):
            await connect(port, Pinned("0" * 64, "relay.example"))


async def test_the_system_does_not_trust_our_own_certificate(tmp_path: Path) -> None:
    async with listening(server_context(make(tmp_path).path)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, SystemRoots("relay.example"))


async def test_an_insecure_client_believes_anybody(tmp_path: Path) -> None:
    async with listening(server_context(make(tmp_path).path)) as port:
        await connect(port, Insecure("whoever.example"))


async def test_tls_older_than_1_2_is_refused(tmp_path: Path) -> None:
    context = server_context(make(tmp_path).path)

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 0
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_an_operators_own_files_are_used(tmp_path: Path) -> None:
    whole = make(tmp_path).path.read_text()
    start = whole.index("-----BEGIN CERTIFICATE-----")
    (tmp_path / "key.pem").write_text(whole[:start])
    (tmp_path / "chain.pem").write_text(whole[start:])

    context = server_context(tmp_path / "chain.pem", tmp_path / "key.pem")

    assert context.get_ca_certs() == []


def test_an_operators_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1").path, make(tmp_path / "2").path
    (tmp_path / "empty.pem").write_text("")

    for certificate, key in ((tmp_path / "none.pem", None), (tmp_path / "empty.pem", None)):
        with pytest.raises(SettingsError, match="give"):
            server_context(certificate, key)
    with pytest.raises(SettingsError, match="belong together"):
        server_context(one, two)
