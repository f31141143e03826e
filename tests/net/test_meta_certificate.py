"""The certificate that tells a relay's key: found by clients, trusted by nobody, harmless."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.net.derp_bed import HOST, REGION, joined, relaying
from tests.net.serving import serving

from gatepost.errors import Unauthentic
from gatepost.net.http_server import Request, Response
from gatepost.net.meta_certificate import meta_certificate
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import (
    Insecure,
    Pinned,
    can_start_fast,
    check_server,
    client_context,
    server_context,
    utc_now,
)
from gatepost.testing.makers import make_private

KEY = make_private(1).public
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_it_carries_key_and_version_as_clients_read_them() -> None:
    pem = meta_certificate(KEY, NOW)
    raw = ssl.PEM_cert_to_DER_cert(pem.decode())
    certificate = x509.load_der_x509_certificate(raw)

    assert b"derpkey" + KEY.raw.hex().encode() in raw
    assert certificate.serial_number == 2
    assert certificate.not_valid_before_utc < NOW - timedelta(days=30)
    assert certificate.not_valid_after_utc > NOW + timedelta(days=3650 - 1)


async def handshake(
    folder: Path, more: bytes, version: ssl.TLSVersion
) -> tuple[ssl.SSLObject, str]:
    """Return the client's end after a handshake, and the pin."""
    own = own_certificate(folder / "own.pem", [HOST], utc_now())

    async def handle(_: Request) -> Response:
        return Response()

    context = client_context(Insecure(""))
    context.maximum_version = version
    async with serving(handle, tls=server_context(own.path, more=more)) as server:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=context, server_hostname=HOST
        )
        connection = writer.get_extra_info("ssl_object")
        assert isinstance(connection, ssl.SSLObject)
        writer.transport.abort()
    return connection, own.fingerprint


async def test_a_client_starts_fast_only_with_it_and_only_over_tls_1_3(tmp_path: Path) -> None:
    meta = meta_certificate(KEY, utc_now())
    newest, old = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2

    assert can_start_fast((await handshake(tmp_path, meta, newest))[0])
    assert not can_start_fast((await handshake(tmp_path, b"", newest))[0])
    assert not can_start_fast((await handshake(tmp_path, meta, old))[0])


async def test_a_pin_still_holds_exactly_one_certificate(tmp_path: Path) -> None:
    meta = meta_certificate(KEY, utc_now())
    connection, fingerprint = await handshake(tmp_path, meta, ssl.TLSVersion.TLSv1_3)

    check_server(connection, Pinned(fingerprint, HOST), utc_now())
    with pytest.raises(Unauthentic, match="pinned is"):
        check_server(connection, Pinned("00" * 32, HOST), utc_now())


async def test_our_client_and_relay_meet_without_an_http_answer(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as node:
        assert node.clients.connected(REGION)
        async with bed.raw() as (reader, writer):
            writer.write(
                b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"
                b"Derp-Fast-Start: 1\r\n\r\n"
            )
            async with asyncio.timeout(5):
                first = await reader.readexactly(13)

    assert first == b"\x01\x00\x00\x00\x28DERP\xf0\x9f\x94\x91"
