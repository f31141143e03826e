"""The documents of the local API about plain WireGuard: machines with the stock app."""

from __future__ import annotations

from gatepost.model.status import Document


class GuestDocument(Document, frozen=True, kw_only=True):
    """A machine with the stock app. `endpoint` is where it was heard last, "" nowhere yet."""

    name: str
    number: int
    key: str  # base64
    addresses: tuple[str, ...] = ()
    endpoint: str = ""
    last_handshake: float | None = None  # seconds since 1970
    received: int = 0  # octets
    sent: int = 0  # octets


class PlainWireGuardDocument(Document, frozen=True, kw_only=True):
    """The box's end. `key` "": the plugin is off, has no networks, or has no key yet.

    `host` is where machines find this box, "" if that is not known. `reach` is what they
    send into their tunnel.
    """

    key: str = ""  # base64
    host: str = ""
    port: int = 0  # UDP
    mtu: int = 0  # octets
    networks: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()
    guests: tuple[GuestDocument, ...] = ()
