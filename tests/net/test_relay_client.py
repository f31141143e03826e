"""The promises of the relay client at work, with a relay, a path service and a kernel of paper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from tests.net.waiting import eventually

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, Grant, NetMap, Node
from gatepost.net.relay_client import REFUSES, TARGET, RelayClients
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, RelayPath, Way
from gatepost.sessions.relay_client_numbers import CAPABLE
from gatepost.testing.makers import make_netmap, make_node, make_range
from gatepost.wire.disco import Message
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    Allocation,
    BindAnswer,
    BindChallenge,
    BindRelay,
    CallMeMaybeVia,
)

SERVER = Endpoint(ip_address("203.0.113.50"), 7777)
STAND_IN = Endpoint(ip_address("198.18.0.7"), 1)
VNI = 5
# This node, the peer that cannot be reached, and a relay.
ME, PEER, RELAY = (replace(make_node(n), capability_version=CAPABLE) for n in (1, 2, 3))
DIRECT = Endpoint(ip_address("198.51.100.2"), 41641)


def port_key(vni: int) -> DiscoPublic:
    """Return the key of the UDP port of the relay that gives out this number."""
    return DiscoPublic(bytes(31) + bytes((94 + vni,)))


PORT = port_key(VNI)


@dataclass
class StandIns:
    """A kernel that can, or cannot yet, wrap packets."""

    ready: bool = True
    asked: int = 0
    open_: set[Endpoint] = field(default_factory=set[Endpoint])
    senders: dict[Endpoint, Endpoint] = field(default_factory=dict[Endpoint, Endpoint])
    broken: frozenset[Endpoint] = frozenset()
    checked: int = 0
    slow: set[int] = field(default_factory=set[int])  # VNIs for which there is none until `gate`
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, server: Endpoint, vni: int) -> Endpoint | None:
        assert server == SERVER
        self.asked += 1
        if vni in self.slow:
            await self.gate.wait()
        if not self.ready or vni in self.slow:
            return None
        stand_in = replace(STAND_IN, port=STAND_IN.port + vni - VNI)
        self.open_.add(stand_in)
        return stand_in

    async def close(self, stand_in: Endpoint) -> None:
        self.open_.discard(stand_in)

    def appear_as(self, stand_in: Endpoint, sender: Endpoint) -> None:
        self.senders[stand_in] = sender

    async def check(self) -> frozenset[Endpoint]:
        self.checked += 1
        return self.broken


@dataclass
class Paths:
    """A path service whose packets reach a relay that answers at once, on the next turn."""

    client: RelayClients | None = None
    sent: list[Message] = field(default_factory=list[Message])
    found: list[RelayPath] = field(default_factory=list[RelayPath])
    lost: list[RelayPath] = field(default_factory=list[RelayPath])
    lamport: int = 1
    vnis: dict[NodePublic, int] = field(default_factory=dict[NodePublic, int])  # VNI is usual

    def relay_path_found(self, key: NodePublic, path: RelayPath) -> None:
        assert key == PEER.key
        self.found.append(path)

    def relay_path_lost(self, key: NodePublic, path: RelayPath) -> None:
        assert key == PEER.key
        self.lost.append(path)

    def send_message(self, receiver: DiscoPublic, way: Way, message: Message) -> str:
        assert receiver.raw
        self.sent.append(message)
        loop = asyncio.get_running_loop()
        match message, way:
            case AllocateRequest(), ByDerp():
                loop.call_soon(self._allocate, message, receiver, way)
            case BindRelay(), ByRelay():
                loop.call_soon(self._challenge, message, way)
            case _:
                pass
        return ""

    def allocation(self, request: AllocateRequest, vni: int = VNI) -> Allocation:
        return Allocation(
            relay=port_key(vni),
            clients=request.clients,
            lamport=self.lamport,
            vni=vni,
            bind_lifetime=30 * 10**9,
            steady_lifetime=300 * 10**9,
            addresses=(SERVER,),
        )

    def _allocate(self, request: AllocateRequest, relay: DiscoPublic, way: ByDerp) -> None:
        assert self.client is not None
        place = self.allocation(request, self.vnis.get(way.node, VNI))
        response = AllocateResponse(request.generation, place)
        self.client.on_message(relay, way.node, response, way)

    def _challenge(self, request: BindRelay, way: ByRelay) -> None:
        assert self.client is not None
        challenge = BindChallenge(
            vni=request.vni, generation=request.generation, remote=request.remote
        )
        self.client.on_message(port_key(way.vni), None, challenge, way)


def grant(*relays: Node) -> tuple[Grant, ...]:
    """Let these nodes be relays for this one."""
    return tuple(
        Grant(
            sources=(make_range(str(r.addresses[0])),),
            destinations=(make_range(str(ME.addresses[0])),),
            capabilities={TARGET: ()},
        )
        for r in relays
    )


def netmap(*others: Node, me: Node = ME, relays: tuple[Node, ...] = (RELAY,)) -> NetMap:
    return replace(make_netmap(me=me, others=others or (PEER, RELAY)), grants=grant(*relays))


@asynccontextmanager
async def using(
    stand_ins: StandIns, given: NetMap | None = None
) -> AsyncGenerator[tuple[RelayClients, Paths]]:
    paths = Paths()
    assert ME.disco is not None
    client = RelayClients(
        disco=ME.disco,
        paths=paths,
        stand_ins=stand_ins,
        ask_ourselves=lambda request: AllocateResponse(
            request.generation, paths.allocation(request)
        ),
        linger=0.05,
    )
    paths.client = client
    client.set_netmap(given or netmap())
    try:
        yield client, paths
    finally:
        await client.close()


def seek(client: RelayClients) -> None:
    assert PEER.disco is not None
    client.seek(PEER.key, PEER.disco)


def kinds(paths: Paths) -> list[type]:
    return [type(m) for m in paths.sent]


# --- who may relay, and who may be reached so ------------------------------------------------


async def test_a_peer_that_was_granted_it_is_asked_and_bound_and_the_path_told() -> None:
    async with using(StandIns()) as (client, paths):
        seek(client)
        await eventually(lambda: paths.found)

        assert kinds(paths)[:4] == [AllocateRequest, BindRelay, CallMeMaybeVia, BindAnswer]
        assert paths.found[0].way == ByRelay(SERVER, VNI)


@pytest.mark.parametrize(
    "given",
    [
        netmap(relays=()),
        netmap(PEER, replace(RELAY, capability_version=CAPABLE - 1)),
        netmap(replace(PEER, capability_version=CAPABLE - 1), RELAY),
        netmap(replace(PEER, disco=None), RELAY),
        netmap(me=replace(ME, capabilities={REFUSES: ()})),
    ],
    ids=["no grant", "old relay", "old peer", "no discovery key", "refused"],
)
async def test_nobody_is_asked_without_the_right_or_the_ability(given: NetMap) -> None:
    async with using(StandIns(), given) as (client, paths):
        seek(client)
        await asyncio.sleep(0)

        assert paths.sent == []


async def test_only_those_that_say_they_relay_are_asked_if_anybody_does() -> None:
    idle = [replace(make_node(n), capability_version=CAPABLE) for n in range(10, 40)]
    offering = replace(RELAY, offers_relay=True)
    for others, asked in (((PEER, *idle, offering), 1), ((PEER, *idle, RELAY), 8)):
        async with using(StandIns(), netmap(*others, relays=(*idle, RELAY))) as (client, paths):
            seek(client)

            assert kinds(paths).count(AllocateRequest) == asked


async def test_a_node_that_is_a_relay_is_its_own_first() -> None:
    async with using(StandIns(), netmap(PEER, relays=(ME,))) as (client, paths):
        seek(client)
        await eventually(lambda: paths.found)

        assert AllocateRequest not in kinds(paths)
        assert CallMeMaybeVia in kinds(paths)


async def test_the_relay_s_key_is_known_while_we_bind() -> None:
    async with using(StandIns()) as (client, paths):
        assert not client.is_known(PORT)
        seek(client)
        await eventually(lambda: paths.found)

        assert client.is_known(PORT)


# --- with and without the kernel --------------------------------------------------------------


async def test_with_a_stand_in_the_path_has_it_and_is_bound_again_by_it() -> None:
    stand_ins = StandIns()
    async with using(stand_ins) as (client, paths):
        seek(client)
        await eventually(lambda: len(paths.found) > 1)

        assert {p.endpoint for p in paths.found} == {STAND_IN}
        assert kinds(paths).count(BindAnswer) == 2


async def test_without_one_the_path_is_told_at_once_and_again_when_there_is_one() -> None:
    stand_ins = StandIns(ready=False)
    async with using(stand_ins) as (client, paths):
        seek(client)
        await eventually(lambda: paths.found)
        assert [p.endpoint for p in paths.found] == [None]
        stand_ins.ready = True
        await eventually(lambda: len(paths.found) > 1)

        assert paths.found[-1].endpoint == STAND_IN


async def test_a_stand_in_that_broke_is_told_and_tried_again() -> None:
    stand_ins = StandIns()
    async with using(stand_ins) as (client, paths):
        seek(client)
        await eventually(lambda: len(paths.found) > 1)
        stand_ins.broken, stand_ins.ready = frozenset({STAND_IN}), False
        client.poke()
        await eventually(lambda: paths.found[-1].endpoint is None)
        stand_ins.broken, stand_ins.ready = frozenset(), True
        client.poke()
        await eventually(lambda: paths.found[-1].endpoint == STAND_IN)

        assert paths.lost == []


async def test_packets_of_the_relay_appear_from_where_wireguard_sends() -> None:
    stand_ins = StandIns()
    async with using(stand_ins) as (client, paths):
        client.on_moved(PEER.key, DIRECT)  # before there was a stand-in
        seek(client)
        await eventually(lambda: paths.found)
        assert stand_ins.senders == {STAND_IN: DIRECT}
        client.on_moved(PEER.key, STAND_IN)

        assert stand_ins.senders == {STAND_IN: STAND_IN}


async def test_a_lost_path_is_told_and_its_stand_in_goes_a_moment_later() -> None:
    stand_ins = StandIns()
    async with using(stand_ins) as (client, paths):
        seek(client)
        await eventually(lambda: len(paths.found) > 1)
        client.set_netmap(netmap(RELAY))
        assert [p.endpoint for p in paths.lost] == [STAND_IN]
        assert stand_ins.open_ == {STAND_IN}
        await eventually(lambda: not stand_ins.open_)

        assert not client.is_used


async def test_a_path_that_is_lost_while_another_is_tried_does_not_come_back() -> None:
    stand_ins, second = StandIns(ready=False), replace(make_node(4), capability_version=CAPABLE)
    given = netmap(PEER, RELAY, second, relays=(RELAY, second))
    async with using(stand_ins, given) as (client, paths):
        paths.vnis[second.key] = VNI + 1
        seek(client)
        await eventually(lambda: len(paths.found) > 1)
        first, other = (path.way.vni for path in paths.found)
        stand_ins.slow, stand_ins.ready = {first}, True
        await eventually(lambda: paths.found[-1].endpoint)
        stand_ins.broken = frozenset(stand_ins.open_)
        client.poke()
        await eventually(lambda: stand_ins.checked)  # and waits for the first one
        client.set_netmap(netmap(RELAY))
        told = len(paths.found)
        stand_ins.gate.set()
        for _ in range(20):  # turns of the loop; nothing in it waits for anything else
            await asyncio.sleep(0)

        assert {first, other} == {VNI, VNI + 1}
        assert {path.way.vni for path in paths.lost} == {VNI, VNI + 1}
        assert not client.is_used
        assert len(paths.found) == told
