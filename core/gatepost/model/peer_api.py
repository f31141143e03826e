"""What a node offers its peers by HTTP inside the tunnel, and who wants what of it. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from gatepost.model.kernel import Listen
from gatepost.model.mesh import Announce
from gatepost.model.netmap import IPAddress
from gatepost.model.observed import Watch
from gatepost.model.resource import Merge, Resource

SERVICE = "peer-api"  # the name behind its port, and of what is announced
NAMES = "peer-dns"  # announced by a node that answers its peers' questions for names
APP_CONNECTOR = "app-connector"  # announced by a node that carries traffic by names
MOST_TRIES = 5  # ports that are tried
_HIGH = 0x8000  # the ports are 32768 to 65535
_TAIL = 3  # octets of an address that decide


@dataclass(frozen=True, slots=True)
class PeerApi(Resource):
    """An HTTP server at a TCP port of this node's addresses in the mesh, for its peers alone."""

    identity: ClassVar = ()
    port: int


@dataclass(frozen=True, slots=True)
class WatchPeerApi(Watch[int]):
    """How many of the ports that were tried first are taken by others, 0 to `MOST_TRIES` - 1."""


@dataclass(frozen=True, slots=True)
class AnswerPeers(Resource):
    """Answer peers that ask at the peer API for names under a suffix ("" is every name).

    Only those are answered who are this user's own, or may reach the internet through
    this node; and nobody about names of the mesh. `suffix` is in small letters without dots
    at its ends.
    """

    identity: ClassVar = ("suffix",)
    merge: ClassVar = Merge.UNION
    suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnNames(Resource):
    """Remember the addresses that peers are given for a domain; `WatchNames` reads them.

    `domain` is a name, or `*.` and a name for whatever is below it. An address is kept for
    `keep` after it was last given, and at least for as long as the asker may keep it. There
    are at most `most` at once: then new ones are kept from whoever asks, who is given those
    that are known. Without `private`, answers with private addresses are withheld.
    """

    identity: ClassVar = ("domain",)
    domain: str
    keep: timedelta
    most: int
    private: bool = False


def port_for(address: IPAddress, tries: int = 0) -> int:
    """Return the port that a node with this address tries, 32768 to 65535.

    From the last three octets, so that it is the same after a restart. Source: protocol
    document 5.
    """
    tail = bytearray(address.packed[-_TAIL:])
    tail[0] = (tail[0] + tries) & 0xFF
    return _HIGH | zlib.crc32(tail) & 0x7FFF


def peer_api(addresses: tuple[IPAddress, ...], tries: int) -> Iterator[Resource]:
    """Yield the peer API of a node with these addresses; `tries` answers `WatchPeerApi`."""
    if addresses:
        port = port_for(addresses[0], tries)
        yield PeerApi(port)
        yield Listen("tcp", port, "mesh", SERVICE)
        yield Announce(SERVICE, str(port))
