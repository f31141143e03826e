"""A router whose two links end in our hands: packets go in and come out as bytes.

The links are TUN devices, the shape of a WireGuard device: no Ethernet, no
neighbours. The kernel handles a packet while it is being written, so what is not
there to read afterwards was dropped, and no test has to wait.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from tests.linux.inside import run_inside

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import Request
from gatepost.model.kernel import Listen, Sender
from gatepost.model.netmap import FilterRule, PortRange
from gatepost.testing.makers import make_range
from gatepost.testing.netns import Machine

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_LONGEST = 1 << 16
_DELETE_CONNECTIONS = (1 << 8) | 2  # nfnetlink subsystem conntrack, IPCTNL_MSG_CT_DELETE
_REDIRECT, _REDIRECT6 = 5, 137  # ICMP types

OWN = {4: "100.64.0.1", 6: "fd7a:115c:a1e0::1"}
HOST = {4: "10.1.0.9", 6: "fd00:1::9"}  # in the approved network, on eth1
ELSEWHERE = {4: "10.2.0.9", 6: "fd00:2::9"}  # in a network that is not approved, on eth1 too
FAR = {4: "10.9.0.5", 6: "fd00:9::5"}  # behind a peer
SERVER_ONLY, EVERYTHING, ODD, NOBODY = 2, 3, 4, 7  # peers by what they may do


def peer(number: int, version: int) -> str:
    return f"100.64.0.{number}" if version == 4 else f"fd7a:115c:a1e0::{number}"


def make_rules() -> tuple[FilterRule, ...]:
    """Let peer 2 use TCP 80 and UDP 53, peer 3 everything, peer 4 SCTP and GRE, FAR TCP 80."""
    everywhere = (make_range("0.0.0.0/0"), make_range("::/0"))

    def rule(*sources: str, port: int = 0, protocols: tuple[int, ...] = ()) -> FilterRule:
        ports = PortRange(port, port) if port else PortRange()
        return FilterRule(
            sources=tuple(make_range(s) for s in sources),
            destinations=tuple((place, ports) for place in everywhere),
            protocols=protocols,
        )

    def both(number: int) -> tuple[str, str]:
        return f"{peer(number, 4)}/32", f"{peer(number, 6)}/128"

    return (
        rule(*both(SERVER_ONLY), port=80, protocols=(6,)),
        rule(*both(SERVER_ONLY), port=53, protocols=(17,)),
        rule(*both(EVERYTHING)),
        rule(*both(ODD), protocols=(132, 47)),
        rule(f"{FAR[4]}/32", f"{FAR[6]}/128", port=80),
    )


APPROVED = (ip_network("10.1.0.0/24"), ip_network("fd00:1::/64"))
WISHES = FilterWishes(
    own=tuple(ip_address(a) for a in OWN.values()),
    carried=(ip_network("10.9.0.0/16"), ip_network("fd00:9::/64")),
    admit=make_rules(),
    senders=tuple(Sender(n, "eth1") for n in APPROVED),
    forward=APPROVED,
    forward_out=(
        *(ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48")),
        *(ip_network("10.9.0.0/16"), ip_network("fd00:9::/64")),
    ),
    listen=(Listen("tcp", 8080, "mesh", "test"), Listen("udp", 8081, "mesh", "test")),
)


@dataclass(frozen=True, slots=True)
class Router:
    """The machine and the far ends of its links; `mesh` and `lan` are file descriptors."""

    machine: Machine
    mesh: int
    lan: int

    def load(self, wishes: FilterWishes) -> None:
        """Load the rules with another epoch than the last time, as the applier does."""
        listing = self.machine.run("nft", "list", "ruleset")
        epoch = "0x00010000" if "0x00020000" in listing else "0x00020000"
        self.machine.nft(f"define epoch = {epoch}\nflush ruleset\n{filter_text(wishes)}")

    def forget(self) -> None:
        """Let the kernel forget all connections, as `conntrack -F` does."""

        async def flush(netlink: Netlink) -> None:
            request = Request(_DELETE_CONNECTIONS, 0, bytes(4))
            await netlink.run(lambda: netlink.netfilter.write([request]))

        run_inside(self.machine, flush)

    def from_mesh(self, *packets: Packet) -> Outcome:
        return self._send(self.mesh, packets)

    def from_lan(self, *packets: Packet) -> Outcome:
        return self._send(self.lan, packets)

    def _send(self, wire: int, packets: tuple[Packet, ...]) -> Outcome:
        for packet in packets:
            os.write(wire, bytes(packet))
        return Outcome(_read(self.mesh), _read(self.lan))

    def close(self) -> None:
        os.close(self.mesh)
        os.close(self.lan)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of the router at once."""

    mesh: tuple[Packet, ...]
    lan: tuple[Packet, ...]

    @property
    def is_nothing(self) -> bool:
        return not self.mesh and not self.lan


def _read(wire: int) -> tuple[Packet, ...]:
    found: list[Packet] = []
    while True:
        try:
            data = os.read(wire, _LONGEST)
        except BlockingIOError:
            return tuple(found)
        packet = IP(data) if data[0] >> 4 == 4 else IPv6(data)
        if not _is_chatter(packet):
            found.append(packet)


def _is_chatter(packet: Packet) -> bool:
    """Say whether the kernel sent this by itself: multicast reports, solicitations, redirects.

    It sends a redirect for what goes out where it came in, before any filter sees the packet.
    """
    if packet.version == 4 and packet.proto == 1:
        return bytes(packet.payload)[0] == _REDIRECT
    if packet.version == 6 and packet.nh == 58:
        return bytes(packet.payload)[0] == _REDIRECT6 or str(packet.dst).startswith("ff02:")
    return str(packet.dst).startswith(("ff02:", "224."))


def make_router(machine: Machine) -> Router:
    """Build the links, addresses and routes, without any filter."""

    async def open_both(_: Netlink) -> tuple[int, int]:
        return _open("gatepost0"), _open("eth1")

    mesh, lan = run_inside(machine, open_both)
    machine.sysctl(
        net__ipv4__conf__all__forwarding=1,
        net__ipv6__conf__all__forwarding=1,
        net__ipv4__conf__all__rp_filter=0,
        net__ipv4__conf__default__rp_filter=0,
        net__ipv4__icmp_ratelimit=0,
        net__ipv6__icmp__ratelimit=0,
    )
    machine.ip(
        "link set gatepost0 mtu 1280 up",
        "link set eth1 up",
        f"address add {OWN[4]}/32 dev gatepost0",
        f"address add {OWN[6]}/128 dev gatepost0 nodad",
        "address add 10.1.0.1/24 brd + dev eth1",
        "address add 10.2.0.1/24 brd + dev eth1",
        "address add fd00:1::1/64 dev eth1 nodad",
        "address add fd00:2::1/64 dev eth1 nodad",
        *(f"route add {n} dev gatepost0" for n in ("100.64.0.0/10", "10.8.0.0/16", "10.9.0.0/16")),
        *(f"route add {n} dev gatepost0" for n in ("fd7a:115c:a1e0::/48", "fd00:9::/64")),
        "route add default dev eth1",
    )
    machine.run("ip", "-6", "route", "add", "default", "dev", "eth1")
    router = Router(machine, mesh, lan)
    router.load(WISHES)
    return router


def _open(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor
