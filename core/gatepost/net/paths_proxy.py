"""The loopback side of DERP: how WireGuard sends to, and hears from, a peer without an address.

Every peer has an address of 127.64.0.0/10, and with port R it is the endpoint
that WireGuard uses while DERP carries the peer. All of 127/8 is local, so one
socket on R receives for all peers and tells them apart by the destination.

In the other direction a raw socket writes the UDP packet with the source that
WireGuard shall see: the proxy endpoint, or, while a direct path is trusted, the
peer's real address, so that WireGuard does not roam away from it. Destination
and interface are those at which the peer's last pong arrived: WireGuard keeps
them for its answers. (The alternative, rewriting in nftables, needs a map
element per peer, and IPv6 a port per peer.) See the data path document, C.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.model.owned import INJECTION_MARK, MARK, PROXY_NETWORK
from gatepost.net.udp import UdpSocket, packet_info
from gatepost.sessions.paths_outputs import ByUdp, Local

log = logging.getLogger(__name__)

_LOOPBACK = IPv4Address("127.0.0.1")
_ANYWHERE = IPv4Address(0)
_SHORTEST = 32  # bytes of a WireGuard packet: an empty transport packet
# version and length, service, total length, id, fragment, time to live, protocol, checksum,
# source, destination; source port, destination port, length, checksum. The kernel fills in
# total length and checksum of the IPv4 header. UDP without checksum is right for IPv4.
_V4 = struct.Struct("!BBHHHBBH4s4sHHHH")
# version, length, next header, hop limit, source, destination; UDP as above
_V6 = struct.Struct("!IHBB16s16sHHHH")
_UDP = socket.IPPROTO_UDP
_UDP_HEADER = 8  # bytes
_HOPS = 64


class ProxyAddresses:
    """The proxy address of each peer: the same after a restart, never two peers with one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._by_key: dict[NodePublic, bytes] = {}
        self._by_address: dict[bytes, NodePublic] = {}

    def endpoint(self, key: NodePublic) -> Endpoint:
        """Return the endpoint that stands for the peer at WireGuard."""
        raw = self._by_key.get(key)
        if raw is None:
            raw = self._by_key[key] = self._free(key)
            self._by_address[raw] = key
        return Endpoint(IPv4Address(raw), self._port)

    def owner(self, address: bytes) -> NodePublic | None:
        """Return the peer behind a 4-byte address."""
        return self._by_address.get(address)

    def is_proxy(self, endpoint: Endpoint) -> bool:
        """Say whether an endpoint is any peer's proxy, also one that is forgotten."""
        return endpoint.port == self._port and (
            isinstance(endpoint.address, IPv4Address) and endpoint.address in PROXY_NETWORK
        )

    def keep(self, keys: Iterable[NodePublic]) -> None:
        """Forget the addresses of all others."""
        for key in self._by_key.keys() - set(keys):
            del self._by_address[self._by_key.pop(key)]

    def _free(self, key: NodePublic) -> bytes:
        """Return an address made from the key, or the next one that nobody has."""
        number = int.from_bytes(hashlib.blake2b(key.raw, digest_size=4).digest(), "big")
        while True:
            number %= PROXY_NETWORK.num_addresses - 1
            raw = PROXY_NETWORK[1 + number].packed
            if raw not in self._by_address:
                return raw
            number += 1


class Proxy:
    """The two sockets. Raise `OSError` without CAP_NET_RAW or when the port is taken."""

    def __init__(
        self,
        wireguard_port: int,
        addresses: ProxyAddresses,
        port: int,
        *,
        on_outbound: Callable[[NodePublic, bytes], None],
        on_batch: Callable[[], None],
    ) -> None:
        self._wireguard_port = wireguard_port
        self._addresses = addresses
        self._on_outbound = on_outbound
        self.dropped = 0  # packets that WireGuard's socket or our own rules did not take
        # Bound to everything because there is no binding to a network; the steering
        # rules drop what comes from other machines, and so does `_on_packet`.
        self._socket = UdpSocket(
            _ANYWHERE, port, mark=0, on_packet=self._on_packet, on_batch=on_batch
        )
        self._raw = {4: _raw_socket(socket.AF_INET)}
        try:
            self._raw[6] = _raw_socket(socket.AF_INET6)
        except OSError as error:
            log.info("no IPv6 here: %s", error)

    def inject(self, key: NodePublic, packet: bytes, direct: ByUdp | None) -> None:
        """Give WireGuard a packet that DERP brought, as if it came by the path in use."""
        way = direct or ByUdp(self._addresses.endpoint(key), Local(_LOOPBACK, 0))
        source, local = way.endpoint, way.local or self._local_towards(way.endpoint)
        version = source.address.version
        raw = self._raw.get(version)
        if raw is None or local is None or local.address.version != version:
            self.dropped += 1
            return
        content = datagram(source, local.address, self._wireguard_port, packet)
        try:
            raw.sendmsg((content,), (packet_info(Local(_ANY[version], local.interface)),), 0,
                        (str(local.address), 0))  # fmt: skip
        except OSError as error:  # a full buffer, or the address has just gone: lost, as on a wire
            log.debug("injecting for %s: %s", key.short, error)
            self.dropped += 1

    def close(self) -> None:
        self._socket.close()
        for raw in self._raw.values():
            raw.close()

    def _on_packet(self, packet: bytes, sender: tuple[str, int], local: bytes, _: int) -> None:
        host, port = sender
        key = self._addresses.owner(local)
        if key is not None and port == self._wireguard_port and host.startswith("127."):
            self._on_outbound(key, packet)

    def _local_towards(self, endpoint: Endpoint) -> Local | None:
        """Ask the kernel which of our addresses it uses towards one that nobody answered from."""
        family = socket.AF_INET if endpoint.address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
                probe.connect((str(endpoint.address), endpoint.port))
                name: tuple[str, int] = probe.getsockname()[:2]
            except OSError:
                return None
        address = IPv4Address(name[0]) if family == socket.AF_INET else IPv6Address(name[0])
        return Local(address, 0)


_ANY: dict[int, IPv4Address | IPv6Address] = {4: IPv4Address(0), 6: IPv6Address(0)}


def is_wireguard(packet: bytes) -> bool:
    """Tell a WireGuard packet: type 1 to 4, three zeros, and long enough."""
    return len(packet) >= _SHORTEST and 1 <= packet[0] <= 4 and packet[1:4] == b"\0\0\0"  # noqa: PLR2004


def _raw_socket(family: int) -> socket.socket:
    """Open a socket that takes whole IP packets (IPPROTO_RAW includes the header)."""
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, INJECTION_MARK)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    except OSError:
        raw.close()
        raise
    return raw


def datagram(source: Endpoint, address: IPAddress, port: int, payload: bytes) -> bytes:
    """Return a whole IP packet from `source` to `port` of our address, of the same version."""
    here, there = address.packed, source.address.packed
    length = _UDP_HEADER + len(payload)
    if len(here) == 4:  # noqa: PLR2004  # IPv4
        head = _V4.pack(0x45, 0, 0, 0, 0, _HOPS, _UDP, 0, there, here, source.port, port, length, 0)
        return head + payload
    pseudo = there + here + struct.pack("!IIHHHH", length, _UDP, source.port, port, length, 0)
    checksum = _checksum(pseudo + payload) or 0xFFFF
    head = _V6.pack(
        0x60000000, length, _UDP, _HOPS, there, here, source.port, port, length, checksum
    )
    return head + payload


def _checksum(content: bytes) -> int:
    """Return the Internet checksum (RFC 1071): one's complement of the sum modulo 65535.

    One division of one large number, 20 times as fast as a loop over the words.
    """
    if len(content) % 2:
        content += b"\0"
    total = int.from_bytes(content, "big") % 0xFFFF  # 0 stands for 0xFFFF: the header is not all 0
    return ~total & 0xFFFF if total else 0
