"""Sends the packet that wakes a machine, on every network device that it may be behind."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from gatepost.api import SettingsError
from gatepost.wire.wake_on_lan import (
    PORT,
    WakeRequest,
    Woken,
    is_link_address,
    read_link_address,
    write_link_address,
    write_magic,
)

log = logging.getLogger(__name__)

EVERYBODY = "255.255.255.255"  # of a link; no router passes it on
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.IGNORECASE)


def read_machines(lines: Iterable[str]) -> Mapping[str, bytes]:
    """Return link addresses by small name; raise `ValueError` with the way out."""
    found = dict[str, bytes]()
    for line in lines:
        name, equals, address = (part.strip() for part in line.partition("="))
        if not equals or not _NAME.fullmatch(name) or not is_link_address(address):
            raise ValueError(
                f"{line[:80]!r} must be a name and a link address, like nas=00:11:22:33:44:55"
            )
        if name.lower() in found:
            raise ValueError(f"{name}: there are two machines with this name")
        found[name.lower()] = read_link_address(address)
    return found


@dataclass(frozen=True, slots=True)
class Waker:
    """Answers a request of a peer that may ask; `links` are network devices."""

    links: tuple[str, ...]
    machines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.links) or 'nowhere'}: {', '.join(self.machines) or 'by address'}"

    async def __call__(self, body: bytes) -> bytes:
        """Wake whom the JSON names; raise `SettingsError` or `Malformed` for what names nobody."""
        try:
            target = msgspec.json.decode(body, type=WakeRequest).target
        except msgspec.DecodeError as error:
            raise SettingsError(f"the request is not what this path takes: {error}") from error
        address = read_machines(self.machines).get(target.lower())
        if address is None and not is_link_address(target):
            raise SettingsError(f"no machine here is called {target[:80]!r}")
        address = address or read_link_address(target)
        reached = tuple(link for link in self.links if _send(link, write_magic(address)))
        if not reached:
            raise SettingsError(f"no network device could send: {', '.join(self.links) or 'none'}")
        mac = write_link_address(address)
        log.info("woke %s on %s", mac, ", ".join(reached))
        return msgspec.json.encode(Woken(mac, reached))


def _send(link: str, packet: bytes) -> bool:
    """Say whether it went out; a device that has just gone is no reason to stop."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            sock.sendto(packet, (EVERYBODY, PORT))
        except OSError as error:
            log.info("%s: nobody woken: %s", link, error)
            return False
    return True
