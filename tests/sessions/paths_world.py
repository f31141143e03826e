"""A small world for path sessions: delays, losses, NATs and a relay, in simulated seconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import (
    ByDerp,
    ByUdp,
    Carry,
    Counters,
    Hold,
    Local,
    Moved,
    Output,
    PeerFacts,
    Refresh,
    Send,
)

REGION = 900
PORT = 41641
DATA = b"\x04\0\0\0" + bytes(60)
INITIATION = b"\x01\0\0\0" + bytes(144)


def make_key(number: int) -> NodePublic:
    return NodePublic(number.to_bytes(32, "big"))


def make_disco(number: int) -> DiscoPublic:
    return DiscoPublic((number + 1000).to_bytes(32, "big"))


def make_endpoint(text: str, port: int = PORT) -> Endpoint:
    return Endpoint(ip_address(text), port)


def make_facts(number: int, *addresses: str, home: int = REGION) -> PeerFacts:
    return PeerFacts(
        key=make_key(number),
        disco=make_disco(number),
        endpoints=tuple(make_endpoint(a) for a in addresses),
        home=home,
    )


def make_random() -> Callable[[int], bytes]:
    """Return a source of bytes that never repeats itself and is always the same."""
    numbers = iter(range(1, 1 << 62))
    return lambda length: next(numbers).to_bytes(length, "big")


@dataclass
class Nat:
    """A router: one mapping per source (or per destination if `symmetric`), a filter.

    `lets` in: "port" only from where it was written to, "address" from any port
    there, "any" to whatever was mapped.
    """

    public: str
    symmetric: bool = False
    lets: str = "port"
    _next: int = 50000
    _ports: dict[object, int] = field(default_factory=dict[object, int])
    _written_to: set[tuple[int, Endpoint]] = field(default_factory=set[tuple[int, Endpoint]])

    def out(self, source: Endpoint, to: Endpoint) -> Endpoint:
        asked = (source, to) if self.symmetric else source
        if asked not in self._ports:
            self._ports[asked] = self._next
            self._next += 1
        port = self._ports[asked]
        self._written_to.add((port, to))
        return make_endpoint(self.public, port)

    def lets_in(self, source: Endpoint, to: Endpoint) -> bool:
        match self.lets:
            case "port":
                return (to.port, source) in self._written_to
            case "address":
                known = {(port, there.address) for port, there in self._written_to}
                return (to.port, source.address) in known
            case _:
                return to.port in self._ports.values()

    def forget(self) -> None:
        """Start again, with other ports."""
        self._ports.clear()
        self._written_to.clear()
        self._next += 100


@dataclass
class Host:
    """One node: its session, its address and perhaps its router."""

    number: int
    address: str
    nat: Nat | None = None
    session: Paths = field(init=False)
    held: dict[NodePublic, Endpoint | None] = field(
        default_factory=dict[NodePublic, Endpoint | None]
    )
    mute: bool = False  # its UDP packets are lost, and it hears all others
    is_killed: bool = False  # only its WireGuard is left
    direct: dict[NodePublic, ByUdp | None] = field(default_factory=dict[NodePublic, ByUdp | None])
    received: list[tuple[float, str, bytes]] = field(default_factory=list[tuple[float, str, bytes]])
    moves: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])
    sent_packets: int = 0
    octets: int = 0  # received
    sent_octets: int = 0
    polled: float = 0.0

    def __post_init__(self) -> None:
        random = make_random()
        self.session = Paths(make_key(self.number), lambda n: bytes((self.number,)) + random(n - 1))


class World:
    """Hosts and time. `lost` says whether the n-th UDP packet between two addresses is lost.

    `jitter` returns seconds on top of the `delay` of a packet.
    """

    def __init__(self, *hosts: Host, delay: float = 0.02) -> None:
        self.now = 1000.0
        self.hosts = hosts
        self.delay = delay
        self.jitter: Callable[[], float] = lambda: 0.0
        self.udp_works = True
        self.lost: Callable[[int], bool] = lambda _: False
        self._count = 0
        self._order = iter(range(1 << 62))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._at(self.now, self._poll)
        for host in hosts:
            self._ask_stun(host)

    def introduce(self) -> None:
        """Tell every host of every other, with the local address alone."""
        for host in self.hosts:
            others = (make_facts(h.number, h.address) for h in self.hosts if h is not host)
            host.session.set_peers(others, self.now)
            self.settle(host)

    def packet(self, host: Host, to: Host, content: bytes = DATA) -> None:
        """Let WireGuard of `host` send a packet to its peer, by the endpoint that it has."""
        host.sent_octets += len(content)
        direct = host.direct.get(make_key(to.number))
        if direct is not None:
            self._udp(host, direct.endpoint, content)
        elif not host.is_killed:
            host.session.on_outbound(make_key(to.number), content, self.now)
        self.settle(host)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            timers = [(h.session.next_timer(), h) for h in self.hosts if not h.is_killed]
            due = [(t, h.number, h) for t, h in timers if t is not None]
            timer = min(due, default=None)
            event = self._events[0][0] if self._events else None
            if event is not None and (timer is None or event <= timer[0]):
                if event > end:
                    break
                when, _, act = heapq.heappop(self._events)
                self.now = max(self.now, when)
                act()
            elif timer is not None and timer[0] <= end:
                self.now = max(self.now, timer[0])
                timer[2].session.on_timer(self.now)
                self.settle(timer[2])
            else:
                break
        self.now = end

    def talk(self, one: Host, other: Host, seconds: float) -> Iterator[float]:
        """Let `one` send every 0.2 s and be answered; yield after each."""
        end = self.now + seconds
        while self.now < end:
            self.packet(one, other)
            self.run(0.1)
            self.packet(other, one)
            self.run(0.1)
            yield self.now

    def _ask_stun(self, host: Host) -> None:
        own: tuple[Endpoint, ...] = (make_endpoint(host.address),)
        if host.nat:
            own += (host.nat.out(own[0], make_endpoint("203.0.113.1", 3478)),)
        host.session.set_own_endpoints(own, self.now, fresh=True)
        self.settle(host)

    def settle(self, host: Host) -> None:
        for output in host.session.take():
            self._do(host, output)

    def _do(self, host: Host, output: Output) -> None:
        match output:
            case Send(_, ByUdp(endpoint), message):
                host.sent_packets += 1
                self._udp(host, endpoint, message)
            case Carry(ByUdp(endpoint), packet):
                self._udp(host, endpoint, packet)
            case Send(_, ByDerp(_, node), message):
                self._derp(host, node, message)
            case Carry(ByDerp(_, node), packet):
                self._derp(host, node, packet)
            case Moved(peer, path):
                direct = path if isinstance(path, ByUdp) else None
                host.direct[peer] = direct
                host.moves.append((self.now, direct is not None))
            case Hold(peer, endpoint):
                host.held[peer] = endpoint
            case Refresh():
                if self.udp_works:
                    self._later(lambda: self._ask_stun(host))
            case _:
                pass

    def _udp(self, host: Host, to: Endpoint, content: object) -> None:
        self._count += 1
        source = make_endpoint(host.address)
        if host.nat:
            source = host.nat.out(source, to)
        if self.udp_works and not host.mute and not self.lost(self._count):
            self._later(lambda: self._arrive(host, source, to, content))

    def _arrive(self, sender: Host, source: Endpoint, to: Endpoint, content: object) -> None:
        for host in self.hosts:
            outside = host.nat.public if host.nat else host.address
            if str(to.address) != outside or (host.nat and not host.nat.lets_in(source, to)):
                continue
            if isinstance(content, bytes):
                host.octets += len(content)
                host.received.append((self.now, "udp", content))
                self._wireguard(host, make_key(sender.number), source, content)
            elif not host.is_killed:
                local = Local(IPv4Address(host.address), 2)
                way = ByUdp(source, local)
                host.session.on_disco(make_disco(sender.number), content, way, self.now)  # type: ignore[arg-type]  # a message
            self.settle(host)

    def _wireguard(self, host: Host, peer: NodePublic, source: Endpoint, packet: bytes) -> None:
        """Let WireGuard follow the peer, unless the address is held."""
        if host.held.get(peer) == source:
            host.session.on_held(peer, source, packet, self.now)
        else:
            host.direct[peer] = ByUdp(source)

    def _derp(self, host: Host, node: NodePublic, content: object) -> None:
        def arrive() -> None:
            target = next(h for h in self.hosts if make_key(h.number) == node)
            source = make_key(host.number)
            if target.is_killed:
                return
            if isinstance(content, bytes):
                target.octets += len(content)
                target.received.append((self.now, "derp", content))
                target.session.on_derp_packet(REGION, source, content, self.now)
            else:
                way = ByDerp(REGION, source)
                target.session.on_disco(make_disco(host.number), content, way, self.now)  # type: ignore[arg-type]  # a message
            self.settle(target)

        self._later(arrive)

    def _poll(self) -> None:
        """Read the counters of who wants that, and look again in a second."""
        self._at(self.now + 1.0, self._poll)
        for host in self.hosts:
            if host.is_killed or self.now - host.polled < host.session.poll_interval(self.now):
                continue
            host.polled = self.now
            readings = [
                Counters(
                    key=make_key(h.number),
                    endpoint=d.endpoint if (d := host.direct.get(make_key(h.number))) else None,
                    received=host.octets,
                    sent=host.sent_octets,
                )
                for h in self.hosts
                if h is not host
            ]
            host.session.on_counters(readings, self.now)
            self.settle(host)

    def _later(self, act: Callable[[], None]) -> None:
        self._at(self.now + self.delay + self.jitter(), act)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), act))
