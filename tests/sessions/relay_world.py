"""A small world for relay clients: nodes, relays that behave or lie, and a network that loses."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2s
from ipaddress import ip_address

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, RelayPath, Send
from gatepost.sessions.relay_client import RelayClient
from gatepost.sessions.relay_client_outputs import AskOurselves, Found, Lost, RelayNode
from gatepost.wire.disco import Message, Ping, Pong
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    Allocation,
    BindAnswer,
    BindChallenge,
    BindRelay,
)

REGION = 900
DELAY = 0.02  # seconds one way
NS = 10**9


def make_key(number: int) -> NodePublic:
    return NodePublic(number.to_bytes(32, "big"))


def make_disco(number: int) -> DiscoPublic:
    return DiscoPublic((number + (1 << 64)).to_bytes(32, "big"))


def make_node(number: int) -> RelayNode:
    return RelayNode(key=make_key(number), disco=make_disco(number), home=REGION)


def make_endpoint(text: str, port: int = 41641) -> Endpoint:
    return Endpoint(ip_address(text), port)


def make_client(number: int = 1) -> RelayClient:
    return RelayClient(make_disco(number), bytes)


@dataclass(slots=True)
class Relay:
    """A relay that behaves; the ones that lie override a method."""

    number: int = 50
    addresses: tuple[Endpoint, ...] = (make_endpoint("203.0.113.50", 7777),)
    bind_lifetime: float = 30.0  # seconds
    steady_lifetime: float = 300.0
    is_deaf: bool = False  # on UDP
    is_away: bool = False
    allocations: dict[frozenset[DiscoPublic], Allocation] = field(
        default_factory=dict[frozenset[DiscoPublic], Allocation]
    )
    bound: dict[tuple[int, DiscoPublic], Endpoint] = field(
        default_factory=dict[tuple[int, DiscoPublic], Endpoint]
    )
    binds: int = 0
    answers: int = 0
    lamport: int = 0

    @property
    def node(self) -> RelayNode:
        return make_node(self.number)

    @property
    def disco(self) -> DiscoPublic:
        """The key of the relay's UDP port, which is not its node's."""
        return make_disco(self.number + 1000)

    def allocate(self, request: AllocateRequest) -> AllocateResponse | None:
        pair = frozenset(request.clients)
        if pair not in self.allocations:
            self.lamport += 1
            self.allocations[pair] = self.make_allocation(request)
        return AllocateResponse(request.generation, self.allocations[pair])

    def make_allocation(self, request: AllocateRequest) -> Allocation:
        return Allocation(
            relay=self.disco,
            clients=request.clients,
            lamport=self.lamport,
            vni=self.lamport,
            bind_lifetime=int(self.bind_lifetime * NS),
            steady_lifetime=int(self.steady_lifetime * NS),
            addresses=self.addresses,
        )

    def restart(self) -> None:
        """Forget everything."""
        self.allocations.clear()
        self.bound.clear()

    def bind(self, source: Endpoint, request: BindRelay) -> BindChallenge | None:
        self.binds += 1
        return BindChallenge(
            vni=request.vni,
            generation=request.generation,
            remote=request.remote,
            challenge=blake2s(f"{source} {request.generation}".encode()).digest(),
        )

    def accept(self, sender: DiscoPublic, source: Endpoint, answer: BindAnswer) -> None:
        self.answers += 1
        if answer.challenge == blake2s(f"{source} {answer.generation}".encode()).digest():
            self.bound[answer.vni, sender] = source

    def other_end(self, vni: int, source: Endpoint) -> Endpoint | None:
        """Return where a packet from `source` goes, if that is a bound end."""
        ends = {key: at for (number, key), at in self.bound.items() if number == vni}
        if source not in ends.values() or len(ends) < 2:
            return None
        return next(at for at in ends.values() if at != source)


@dataclass(slots=True)
class Host:
    """A node: its relay client, and a path service that only answers pings."""

    world: World
    number: int
    address: Endpoint
    client: RelayClient
    paths: dict[NodePublic, RelayPath] = field(default_factory=dict[NodePublic, RelayPath])
    pongs: list[ByRelay] = field(default_factory=list[ByRelay])
    lost: list[RelayPath] = field(default_factory=list[RelayPath])

    @property
    def node(self) -> RelayNode:
        return make_node(self.number)

    def seek(self, other: Host) -> None:
        self.client.seek(other.node.key, self.world.now)
        self.settle()

    def ping(self, other: Host) -> None:
        """Ping by the relay path to the other, if there is one."""
        if path := self.paths.get(other.node.key):
            self.send(Send(other.node.disco, path.way, Ping(bytes(12), self.node.key)))

    def settle(self) -> None:
        for output in self.client.take():
            match output:
                case Send():
                    self.send(output)
                case Found(peer, path):
                    self.paths[peer] = path
                case Lost(peer, path):
                    self.lost.append(path)
                    if self.paths.get(peer) == path:
                        del self.paths[peer]
                case AskOurselves():
                    raise AssertionError("no relay here")

    def send(self, sending: Send) -> None:
        match sending.way:
            case ByDerp(_, node):
                self.world.by_derp(self, node, sending)
            case ByRelay(server, vni):
                self.world.to_relay(self, server, vni, sending)
            case _:
                raise AssertionError(sending)

    def on_derp(self, sender: RelayNode, message: Message) -> None:
        way = ByDerp(REGION, sender.key)
        self.client.on_message(sender.disco, message, way, self.world.now)
        self.settle()

    def on_relayed(self, sender: DiscoPublic, server: Endpoint, vni: int, message: Message) -> None:
        way = ByRelay(server, vni)
        match message:
            case Ping(transaction):
                self.client.on_heard(sender, way, self.world.now)
                self.send(Send(sender, way, Pong(transaction, server)))
            case Pong():
                self.client.on_heard(sender, way, self.world.now)
                self.pongs.append(way)
            case _:
                self.client.on_message(sender, message, way, self.world.now)
        self.settle()


class World:
    """Carries what hosts and relays send, `DELAY` later unless `loses` says so."""

    def __init__(self, relay: Relay | None = None) -> None:
        self.now = 0.0
        self.relay = relay or Relay()
        self.hosts: dict[NodePublic, Host] = {}
        self.loses: Callable[[Message], bool] = lambda _: False
        self.sent: list[Message] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def add(self, number: int) -> Host:
        address = make_endpoint(f"198.51.100.{number}")
        host = Host(self, number, address, make_client(number))
        self.hosts[host.node.key] = host
        return host

    def introduce(self) -> None:
        """Tell everybody of everybody and of the relay."""
        for host in self.hosts.values():
            peers = [h.node for h in self.hosts.values() if h is not host]
            host.client.set_nodes(host.node.key, [self.relay.node], peers)
            host.settle()

    def later(self, wait: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + wait, next(self._order), what))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timers = [t for h in self.hosts.values() if (t := h.client.next_timer()) is not None]
            due = min([*timers, self._events[0][0] if self._events else end + 1, end])
            self.now = max(self.now, due)
            if self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            elif timers and min(timers) <= self.now:
                for host in self.hosts.values():
                    host.client.on_timer(self.now)
                    host.settle()
            if self.now >= end and not (self._events and self._events[0][0] <= end):
                return

    def by_derp(self, host: Host, to: NodePublic, sending: Send) -> None:
        message = sending.message
        self.sent.append(message)
        if self.loses(message):
            return
        if to == self.relay.node.key:
            assert isinstance(message, AllocateRequest)
            self.later(DELAY, lambda: self._allocate(host, message))
        elif to in self.hosts:
            self.later(DELAY, lambda: self.hosts[to].on_derp(host.node, message))

    def to_relay(self, host: Host, server: Endpoint, vni: int, sending: Send) -> None:
        message, source = sending.message, host.address
        self.sent.append(message)
        is_there = server in self.relay.addresses and not self.relay.is_deaf
        if is_there and not self.relay.is_away and not self.loses(message):
            self.later(DELAY, lambda: self._at_relay(host.node.disco, source, server, vni, message))

    def _allocate(self, host: Host, request: AllocateRequest) -> None:
        relay = self.relay
        if not relay.is_away and (response := relay.allocate(request)):
            self.later(DELAY, lambda: host.on_derp(relay.node, response))

    def _at_relay(
        self, sender: DiscoPublic, source: Endpoint, server: Endpoint, vni: int, message: Message
    ) -> None:
        relay = self.relay
        match message:
            case BindRelay():
                if challenge := relay.bind(source, message):
                    self._deliver(relay.disco, source, server, vni, challenge)
            case BindAnswer():
                relay.accept(sender, source, message)
            case _:
                if to := relay.other_end(vni, source):
                    self._deliver(sender, to, server, vni, message)

    def _deliver(
        self, sender: DiscoPublic, to: Endpoint, server: Endpoint, vni: int, message: Message
    ) -> None:
        if self.loses(message):
            return
        for host in self.hosts.values():
            if host.address == to:
                self.later(DELAY, partial(host.on_relayed, sender, server, vni, message))
