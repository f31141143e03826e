"""Resources that the Linux kernel holds: devices, addresses, routes, rules, switches, filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import FilterRule, IPAddress, IPNetwork
from gatepost.model.resource import Merge, Resource

Family = Literal[4, 6]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuardDevice(Resource):
    """A WireGuard interface, up, made by the kernel or by wireguard-go, whichever there is.

    `mark` is put on the encrypted packets it sends, so that they never enter the tunnel.
    """

    identity: ClassVar = ("name",)
    name: str
    private_key: NodePrivate
    port: int  # UDP
    mark: int
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuardPeer(Resource):
    """A peer of a WireGuard interface.

    `allowed` is empty in what plugins contribute: they say `AllowedPrefix`,
    and the engine gathers the prefixes of each peer here. The endpoint is not
    part of it: the path session owns that (see `gatepost.sessions.paths`).
    """

    identity: ClassVar = ("device", "public_key")
    device: str
    public_key: NodePublic
    allowed: frozenset[IPNetwork] = frozenset()


@dataclass(frozen=True, slots=True)
class Address(Resource):
    """An address of a device, with a host prefix (/32 or /128)."""

    identity: ClassVar = ("device", "address")
    merge: ClassVar = Merge.UNION
    device: str
    address: IPAddress


@dataclass(frozen=True, slots=True)
class Route(Resource):
    """A route of one of our tables. With a `gateway` the kernel chooses the device: name none."""

    identity: ClassVar = ("table", "destination")
    table: int
    destination: IPNetwork
    device: str | None = None
    kind: Literal["unicast", "blackhole", "unreachable", "throw"] = "unicast"
    source: IPAddress | None = None  # the address that this machine's own packets get
    mtu: int | None = None  # octets of a packet; None leaves it to the device
    gateway: IPAddress | None = None  # on a network that this machine is attached to


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Resource):
    """A routing policy rule: packets with `mark` (under `mask`), or all, look into `table`.

    `invert` turns the whole of it round: packets to which not all of the rest applies
    (`ip rule add not fwmark …`).
    `destination` narrows it to packets that go there, `source` to those that come
    from there, and `own` to those that this machine itself sends. `incoming` is the
    device that they came from, `outgoing` the one that their socket is bound to.
    """

    identity: ClassVar = ("family", "priority")
    family: Family
    priority: int
    table: int
    mark: int | None = None
    mask: int | None = None
    invert: bool = False
    destination: IPNetwork | None = None
    source: IPNetwork | None = None
    own: bool = False
    incoming: str | None = None
    outgoing: str | None = None


@dataclass(frozen=True, slots=True)
class Sysctl(Resource):
    """A kernel switch, by its dotted name as `sysctl` prints it."""

    identity: ClassVar = ("name",)
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Listen(Resource):
    """A local port: the socket, the hole in the firewall and the service behind them.

    The engine opens the socket and hands it to the service, so a port has one
    owner and two plugins that want the same one are told so. In the zone "self"
    nobody in the mesh can reach it; the service turns away who else could route to
    it. `addresses` are where it listens; none is at this node's addresses in the
    mesh, in other zones everywhere.
    """

    identity: ClassVar = ("protocol", "port", "zone")
    protocol: Literal["tcp", "udp"]
    port: int
    zone: Literal["mesh", "lan", "internet", "self"]
    service: str
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Admit(Resource):
    """Let what the rule describes come in from the mesh; everything else stays out."""

    identity: ClassVar = ("rule",)
    merge: ClassVar = Merge.UNION
    rule: FilterRule


@dataclass(frozen=True, slots=True)
class Sender(Resource):
    """The one device through which packets with a source in `prefix` may come."""

    identity: ClassVar = ("prefix",)
    prefix: IPNetwork
    device: str


@dataclass(frozen=True, slots=True)
class Forward(Resource):
    """Let packets through from the mesh to a network, and the answers back."""

    identity: ClassVar = ("destination",)
    merge: ClassVar = Merge.UNION
    destination: IPNetwork


@dataclass(frozen=True, slots=True)
class ForwardOut(Resource):
    """Let packets through from the networks of this site to a network in the mesh."""

    identity: ClassVar = ("destination",)
    merge: ClassVar = Merge.UNION
    destination: IPNetwork


@dataclass(frozen=True, slots=True)
class Masquerade(Resource):
    """Rewrite the source of packets from the mesh to a network to this machine's own address."""

    identity: ClassVar = ("destination",)
    merge: ClassVar = Merge.UNION
    destination: IPNetwork


@dataclass(frozen=True, slots=True)
class MasqueradeOut(Resource):
    """Let packets from a network of this site go into the mesh under this machine's own address.

    Only to where no peer has announced a network: other sites see real addresses.
    """

    identity: ClassVar = ("source",)
    merge: ClassVar = Merge.UNION
    source: IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyThroughMesh(Resource):
    """Let nothing out but by the mesh: neither from this machine nor from the networks `behind` it.

    What goes to `spared` is left alone, and so is what a link needs to work (DHCP,
    neighbours) and what carries the mesh itself. Questions for names are an exception:
    of what is spared only the name servers in `asked` get them. It holds from boot on,
    with or without the daemon, until nobody asks for it any more.
    """

    identity: ClassVar = ("device",)
    device: str
    behind: frozenset[IPNetwork] = frozenset()
    spared: frozenset[IPNetwork] = frozenset()
    asked: frozenset[IPAddress] = frozenset()


@dataclass(frozen=True, slots=True)
class Translate(Resource):
    """Let packets through from the mesh that were sent to `outside` and go on to `inside`.

    They come from aliases of peers (`owned.ALIAS_NETWORK`), which must be admitted like
    any sender, and go on under this machine's own address. A `TrafficProgram` does the
    rewriting itself. Nothing else may use `inside` because of this.
    """

    identity: ClassVar = ("outside",)
    outside: IPNetwork
    inside: IPNetwork


@dataclass(frozen=True, slots=True)
class ClampMss(Resource):
    """Keep TCP segments to a network small enough for the tunnel."""

    identity: ClassVar = ("destination",)
    merge: ClassVar = Merge.UNION
    destination: IPNetwork


@dataclass(frozen=True, slots=True)
class PacketFilter(Resource):
    """The whole nftables table, as one text that `nft -f` loads in one transaction.

    Made by the engine from `Admit`, `Sender`, `Forward`, `Masquerade`, `Listen`
    and `ClampMss`; plugins do not contribute it. `text` is canonical: the same
    wishes always give the same text.
    """

    identity: ClassVar = ("table",)
    table: str
    text: str


@dataclass(frozen=True, slots=True, order=True)
class MapEntry:
    """One entry of a BPF map, in the program's own format."""

    map: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficProgram(Resource):
    """A BPF program of `gatepost.bpf` that sees every packet of a device, in or out.

    `object` is the file's name without its ending, `program` a section of it without
    "tc/". On a device whose packets begin with the IP header `bare` is used, if it
    names one. The maps of an object are shared by all its programs on this machine. A
    map that `entries` mentions holds those and no others (an array keeps its other
    elements); a map that they do not mention belongs to whoever fills it. Programs of
    lower `priority` see a packet first; the priorities are in `gatepost.model.owned`.
    """

    identity: ClassVar = ("device", "direction", "priority")
    device: str
    direction: Literal["in", "out"]
    priority: int
    object: str
    program: str
    bare: str = ""
    entries: frozenset[MapEntry] = frozenset()
