"""Plain WireGuard of the node in memory: what the settings say, and nobody was ever heard."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from ipaddress import ip_network
from typing import cast

from gatepost.model.guest_documents import GuestDocument, PlainWireGuardDocument
from gatepost.model.status import FieldDocument, PluginDocument
from gatepost.sessions.guests import read_guests

PLAIN_WIREGUARD = PluginDocument(
    name="plain-wireguard",
    title="Plain WireGuard",
    summary="Lets phones in.",
    enabled=True,
    fields=(
        FieldDocument(name="networks", kind="list", default=(), value=()),
        FieldDocument(name="peers", kind="list", default=(), value=()),
        FieldDocument(name="host", kind="text", default="", value=""),
    ),
)
PUBLIC_KEY = base64.b64encode(bytes(range(32))).decode()


def fake_guests(values: Mapping[str, object]) -> PlainWireGuardDocument:
    """Return the document for these settings; without networks nothing is ready."""
    texts, lines = (
        cast("tuple[str, ...]", values[name])  # both fields are lists
        for name in ("networks", "peers")
    )
    if not texts:
        return PlainWireGuardDocument()
    hosts = tuple(map(ip_network, texts))
    guests = read_guests(lines)
    return PlainWireGuardDocument(
        key=PUBLIC_KEY,
        host=str(values["host"]),
        port=51820,
        mtu=1280,
        networks=texts,
        reach=(*texts, "100.64.0.0/10"),
        guests=tuple(
            GuestDocument(
                name=guest.name,
                number=guest.number,
                key=guest.key.base64,
                addresses=tuple(map(str, guest.addresses(hosts))),
            )
            for guest in guests
        ),
    )
