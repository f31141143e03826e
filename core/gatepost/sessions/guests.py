"""Guests: machines with the stock WireGuard app that are in the mesh through this box. No I/O.

A guest is one line of the settings: "phone 2 <44 characters of base64>". Its number says which
address of each of the guests' networks it has; the box has number 1.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import collapse_addresses

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import IPAddress, IPNetwork

KEEP_ALIVE = 25  # seconds; the app's own advice, short enough for every NAT
FIRST = 2  # number 1 is the box
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY_LENGTH = 32  # bytes
_WORDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    name: str
    number: int
    key: NodePublic

    def __str__(self) -> str:
        return f"{self.name} {self.number} {self.key.base64}"

    def addresses(self, networks: Iterable[IPNetwork]) -> tuple[IPAddress, ...]:
        """Return its address in each of the networks that is large enough for it."""
        return tuple(n[self.number] for n in networks if self.number < n.num_addresses - 1)


def read_name(text: str) -> str:
    """Return the name if it is one; raise `ValueError`."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no name: up to 32 small letters, digits and -")
    return text


def read_guest(text: str) -> Guest:
    """Read a line of the settings; raise `ValueError` with the way out."""
    words = text.split()
    if len(words) != _WORDS or not words[1].isascii() or not words[1].isdecimal():
        raise ValueError(f"{text[:60]!r} must be a name, a number and a key: phone 2 <public key>")
    number = int(words[1][:9])
    if number < FIRST:
        raise ValueError(f"{text[:60]!r}: the number is {FIRST} or more; 1 is this box")
    try:
        raw = base64.b64decode(words[2], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{words[0]}: its key is not base64: {error}") from error
    if len(raw) != _KEY_LENGTH:
        raise ValueError(f"{words[0]}: a key has {_KEY_LENGTH} bytes, not {len(raw)}")
    return Guest(name=read_name(words[0]), number=number, key=NodePublic(raw))


def read_guests(lines: Iterable[str]) -> tuple[Guest, ...]:
    """Read all lines; raise `ValueError` for two with the same name, number or key."""
    guests = tuple(map(read_guest, lines))
    for what in ("name", "number", "key"):
        seen = set[object]()
        for guest in guests:
            value: object = getattr(guest, what)
            if value in seen:
                raise ValueError(f"{guest.name}: another one has the same {what}")
            seen.add(value)
    return guests


def free_number(guests: Iterable[Guest], networks: Iterable[IPNetwork]) -> int:
    """Return the lowest number that nobody has; raise `ValueError` when the networks are full."""
    taken = {guest.number for guest in guests}
    # The last address of IPv4 is the broadcast's.
    room = min((network.num_addresses - 1 for network in networks), default=FIRST)
    for number in range(FIRST, room):
        if number not in taken:
            return number
    raise ValueError(f"the networks have room for {max(room - FIRST, 0)} guests and no more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """All that a guest's app needs. `host` is a name or an address, an IPv6 one in brackets."""

    key: NodePrivate
    addresses: Sequence[IPAddress]
    box: NodePublic
    host: str
    port: int
    reach: Sequence[IPNetwork]
    mtu: int


def configuration(invitation: Invitation) -> str:
    """Return the file that WireGuard's apps and wg-quick(8) read; the QR code holds the same."""
    addresses = ", ".join(f"{a}/{a.max_prefixlen}" for a in invitation.addresses)
    return (
        "[Interface]\n"
        f"PrivateKey = {base64.b64encode(invitation.key.raw).decode()}\n"
        f"Address = {addresses}\n"
        f"MTU = {invitation.mtu}\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {invitation.box.base64}\n"
        f"AllowedIPs = {', '.join(map(str, invitation.reach))}\n"
        f"Endpoint = {invitation.host}:{invitation.port}\n"
        f"PersistentKeepalive = {KEEP_ALIVE}\n"
    )


def reach_of(
    networks: Iterable[IPNetwork], shared: Iterable[IPNetwork], carried: Iterable[IPNetwork]
) -> tuple[IPNetwork, ...]:
    """Return what guests send into their tunnel: themselves, this site's networks and the mesh.

    Only what their addresses can speak to, and no default route.
    """
    mine = tuple(networks)
    versions = {n.version for n in mine}
    found = [n for n in (*mine, *shared, *carried) if n.version in versions and n.prefixlen > 0]
    v4 = collapse_addresses(n for n in found if n.version == 4)  # noqa: PLR2004  # the version of IP
    v6 = collapse_addresses(n for n in found if n.version == 6)  # noqa: PLR2004
    return (*v4, *v6)
