"""What a box finds around itself: its networks, and which of them are worth sharing."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import Literal

from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.status import Document

NatDepth = Literal["unknown", "none", "one", "two"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceFacts:
    """One network device of this machine, apart from loopback and our own."""

    name: str
    kind: str = ""  # of the kernel: "bridge", "veth", "" for hardware
    is_plugged: bool = True
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Which addresses a DHCP server of this machine gives out: `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address
    program: str  # "dnsmasq", "systemd-networkd", "kea"


@dataclass(frozen=True, slots=True, kw_only=True)
class AroundFacts:
    """Everything that is judged. `uplinks` are devices with a way to the internet.

    `seen` are our addresses as STUN servers saw them, `mapped` those that the router
    named when it was asked for a port. `remote` are the networks of other sites, with
    the name of who carries them.
    """

    interfaces: tuple[InterfaceFacts, ...] = ()
    uplinks: frozenset[str] = frozenset()
    gateways: tuple[tuple[str, IPv4Address], ...] = ()  # device and router
    seen: tuple[IPAddress, ...] = ()
    mapped: tuple[IPAddress, ...] = ()
    leases: tuple[Lease, ...] = ()
    remote: tuple[tuple[IPNetwork, str], ...] = ()
    shared: tuple[IPNetwork, ...] = ()
    approved: tuple[IPNetwork, ...] = ()


class FoundNetwork(Document, frozen=True, kw_only=True):
    """A network that this machine is attached to. `proposed`: share it, nothing speaks against."""

    network: str
    interface: str
    address: str  # this machine's
    gateway: str = ""  # the router to the internet in it
    dhcp: str = ""  # "10.0.0.100 to 10.0.0.199 by dnsmasq"
    proposed: bool = False
    shared: bool = False
    approved: bool = False
    why: str = ""  # of the proposal, or of there being none
    overlaps: tuple[str, ...] = ()  # "10.0.0.0/24 at office"


class SurroundingsDocument(Document, frozen=True, kw_only=True):
    """What `gatepost lan` shows. `nat` is how many routers translate this box's address."""

    networks: tuple[FoundNetwork, ...] = ()
    nat: NatDepth = "unknown"
    nat_text: str = ""
