"""All ways a packet of the path service comes and goes: UDP, DERP, and WireGuard's loopback."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from gatepost.errors import WireError
from gatepost.model.keys import DiscoPrivate, DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.model.owned import DISCO_PORT_OFFSET, MARK, PROXY_PORT_OFFSET
from gatepost.net.gro import keep_packets_apart
from gatepost.net.path_ports import Carrier
from gatepost.net.paths_proxy import Proxy, ProxyAddresses, is_wireguard
from gatepost.net.udp import UdpSocket, make_endpoint
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, ByUdp, Local, RelayPath, Send, Way
from gatepost.wire.box import NONCE_LENGTH, SharedKeys
from gatepost.wire.disco import AnyMessage, is_disco, open_packet, read_packet, seal_packet
from gatepost.wire.disco_relay import Binding
from gatepost.wire.geneve import DISCO, WIREGUARD, Geneve, is_geneve, read_geneve, write_geneve
from gatepost.wire.stun import is_stun

log = logging.getLogger(__name__)

FLOOD = 1000  # packets of discovery read in 50 ms, 20,000 a second; a mesh of 1,000 sends 50
SHARED_KEYS = 4096  # peers whose shared key is remembered, about 200 bytes each
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears what comes in. None of them may wait.

    `is_known` says whether a box from this key is worth opening. `on_batch`
    follows when all packets of a wake-up have been handed over.
    """

    is_known: Callable[[DiscoPublic], bool]
    on_message: Callable[[DiscoPublic, AnyMessage, Way], None]
    on_stun: Callable[[bytes], None]
    on_outbound: Callable[[NodePublic, bytes], None]  # from WireGuard, by the proxy
    on_relayed: Callable[[ByRelay, bytes], None]  # for WireGuard, where the kernel does not do it
    on_straight: Callable[[Endpoint, bytes], None]  # for WireGuard, from an address that is held
    outward: Callable[[ByRelay], Endpoint]  # where to send what goes through a relay
    inward: Callable[[Endpoint], Endpoint]  # the relay behind a sender
    on_batch: Callable[[], None]


class Radio:
    """Sockets of one node. Before `open` and after the stack's end all that is sent is lost."""

    def __init__(
        self,
        disco: DiscoPrivate,
        port: int,
        proxies: ProxyAddresses,
        *,
        random_bytes: Callable[[int], bytes],
        listener: Listener,
    ) -> None:
        self._disco = disco.public
        self._keys = SharedKeys(disco, limit=SHARED_KEYS)
        self._port = port
        self._proxies = proxies
        self._random = random_bytes
        self._listener = listener
        self._derp: Carrier | None = None
        self._proxy: Proxy | None = None
        self._sockets: dict[int, UdpSocket] = {}

    @property
    def is_open(self) -> bool:
        return self._derp is not None

    def open(self, derp: Carrier, stack: AsyncExitStack) -> None:
        """Open all sockets until the stack ends.

        Raise `OSError` when a port is taken or a right is missing
        (CAP_NET_RAW and CAP_NET_ADMIN); a machine without IPv6 is no error.
        """
        stack.callback(self._forget)
        stack.enter_context(keep_packets_apart())
        anywhere: tuple[IPAddress, ...] = (IPv4Address(0), IPv6Address(0))
        for address in anywhere:
            try:
                opened = self._open_discovery(address)
            except OSError as error:
                if isinstance(address, IPv4Address) or error.errno not in _NO_IPV6:
                    raise
                log.info("no IPv6 here: %s", error)
                continue
            stack.callback(opened.close)
            self._sockets[address.version] = opened
        self._proxy = Proxy(
            self._port,
            self._proxies,
            self._port + PROXY_PORT_OFFSET,
            on_outbound=self._listener.on_outbound,
            on_batch=self._listener.on_batch,
        )
        stack.callback(self._proxy.close)
        self._derp = derp

    def send(self, way: Way, packet: bytes) -> None:
        """Send a WireGuard packet as it is."""
        if isinstance(way, ByRelay):
            packet = write_geneve(Geneve(way.vni, WIREGUARD), packet)
        self._send(way, packet)

    def send_message(self, sending: Send) -> str:
        """Seal a message and send it; return what this machine has against it, "" if nothing."""
        nonce, message, way = self._random(NONCE_LENGTH), sending.message, sending.way
        packet = seal_packet(message, self._disco, sending.receiver, self._keys, nonce)
        if isinstance(way, ByRelay):
            header = Geneve(way.vni, DISCO, is_control=isinstance(message, Binding))
            packet = write_geneve(header, packet)
        return self._send(way, packet)

    def send_udp(self, to: Endpoint, packet: bytes) -> None:
        """Send by UDP, from the port that peers see."""
        self._by_udp(to, packet)

    def _by_udp(self, to: Endpoint, packet: bytes, local: Local | None = None) -> str:
        opened = self._sockets.get(to.address.version)
        return opened.send(packet, to, local) if opened else f"no IPv{to.address.version} here"

    def _send(self, way: Way, packet: bytes) -> str:
        match way:
            case ByUdp(endpoint, local):
                return self._by_udp(endpoint, packet, local)
            case ByRelay():
                return self._by_udp(self._listener.outward(way), packet)
            case ByDerp(region, node):
                if self._derp:
                    self._derp.send(region, node, packet)
                return ""

    def inject(self, key: NodePublic, packet: bytes, path: ByUdp | RelayPath | None) -> None:
        """Give WireGuard a packet of a peer, as if it came by the path in use."""
        if isinstance(path, RelayPath):
            path = ByUdp(path.endpoint) if path.endpoint else None
        if self._proxy:
            self._proxy.inject(key, packet, path)

    def on_disco(self, packet: bytes, way: Way, *, is_control: bool = False) -> None:
        """Open a disco packet; what is not for us, or not from a peer, is dropped silently.

        A message of a binding comes with the control bit and the VNI that it says; others do not.
        """
        try:
            closed = read_packet(packet)
            if not self._listener.is_known(closed.sender):
                return
            message = open_packet(closed, self._keys)
        except WireError as error:
            log.debug("dropped a disco packet by %s: %s", way, error)
            return
        if is_control != isinstance(message, Binding):
            return
        if isinstance(message, Binding) and isinstance(way, ByRelay) and message.vni != way.vni:
            return
        self._listener.on_message(closed.sender, message, way)

    def _open_discovery(self, address: IPAddress) -> UdpSocket:
        return UdpSocket(
            address,
            self._port + DISCO_PORT_OFFSET,
            mark=MARK,
            on_packet=self._on_udp,
            on_batch=self._listener.on_batch,
            limit=FLOOD,
            whole=True,
        )

    def _on_udp(self, packet: bytes, sender: tuple[str, int], local: bytes, interface: int) -> None:
        if is_disco(packet):
            here = Local(ip_address(local), interface) if local else None
            self.on_disco(packet, ByUdp(make_endpoint(sender), here))
        elif is_stun(packet):
            self._listener.on_stun(packet)
        elif is_wireguard(packet):
            self._listener.on_straight(make_endpoint(sender), packet)
        elif is_geneve(packet):
            self._on_geneve(packet, make_endpoint(sender))

    def _on_geneve(self, packet: bytes, relay: Endpoint) -> None:
        """Take what a relay sent: a peer's message or its own, or WireGuard's packet."""
        try:
            header, content = read_geneve(packet)
        except WireError as error:
            log.debug("dropped a packet of %s: %s", relay, error)
            return
        way = ByRelay(self._listener.inward(relay), header.vni)
        if header.protocol == DISCO:
            self.on_disco(content, way, is_control=header.is_control)
        elif is_wireguard(content):
            self._listener.on_relayed(way, content)

    def _forget(self) -> None:
        self._derp = self._proxy = None
        self._sockets = {}
