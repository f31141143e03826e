"""Relays and peers that lie to the relay client: nothing that works is lost by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tests.sessions.relay_world import Host, Relay, World, make_disco, make_endpoint, make_node

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, ByUdp, Way
from gatepost.sessions.relay_client_numbers import CALLS_HEEDED, MOST_PLACES, PLACES_PER_PEER
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


def make_world(relay: Relay | None = None) -> tuple[World, Host, Host, Host]:
    world = World(relay)
    one, two, three = (world.add(n) for n in (1, 2, 3))
    world.introduce()
    return world, one, two, three


def sends(world: World, *kinds: type) -> list[Message]:
    return [m for m in world.sent if isinstance(m, kinds)]


def tell(host: Host, sender: Host, allocation: Allocation, way: Way | None = None) -> None:
    """Let `sender` tell `host` of a place."""
    way = way or ByDerp(900, sender.node.key)
    message = CallMeMaybeVia(allocation)
    host.client.on_message(sender.node.disco, message, way, host.world.now)
    host.settle()


def make_allocation(one: Host, other: Host, **fields: object) -> Allocation:
    made = Allocation(
        relay=make_disco(1050),
        clients=(one.node.disco, other.node.disco),
        lamport=1,
        vni=1,
        bind_lifetime=30 * 10**9,
        steady_lifetime=300 * 10**9,
        addresses=(make_endpoint("203.0.113.50", 7777),),
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of Allocation


# --- a relay that lies ------------------------------------------------------------------------


@dataclass(slots=True)
class ForOthers(Relay):
    """Gives out places of somebody else."""

    def make_allocation(self, request: AllocateRequest) -> Allocation:
        made = Relay.make_allocation(self, request)
        return replace(made, clients=(request.clients[0], make_disco(99)))


@dataclass(slots=True)
class WrongVni(Relay):
    def bind(self, source: Endpoint, request: BindRelay) -> BindChallenge | None:
        challenge = Relay.bind(self, source, request)
        return replace(challenge, vni=request.vni + 1) if challenge else None


@dataclass(slots=True)
class OldGeneration(Relay):
    def bind(self, source: Endpoint, request: BindRelay) -> BindChallenge | None:
        challenge = Relay.bind(self, source, request)
        return replace(challenge, generation=request.generation - 1) if challenge else None


@dataclass(slots=True)
class OurOwnKey(Relay):
    """Says that its port has the discovery key of one of us."""

    def make_allocation(self, request: AllocateRequest) -> Allocation:
        return replace(Relay.make_allocation(self, request), relay=request.clients[1])


@dataclass(slots=True)
class NoVni(Relay):
    def make_allocation(self, request: AllocateRequest) -> Allocation:
        return replace(Relay.make_allocation(self, request), vni=0)


@dataclass(slots=True)
class OtherQuestion(Relay):
    """Answers what nobody asked."""

    def allocate(self, request: AllocateRequest) -> AllocateResponse | None:
        response = Relay.allocate(self, request)
        return replace(response, generation=request.generation + 5) if response else None


@pytest.mark.parametrize(
    "liar", [ForOthers, WrongVni, OldGeneration, OurOwnKey, NoVni, OtherQuestion]
)
def test_a_relay_that_lies_gets_no_answer_and_leaves_nothing_behind(liar: type[Relay]) -> None:
    world, one, two, _ = make_world(liar())
    one.seek(two)
    world.run(60)

    assert sends(world, BindAnswer) == []
    assert one.paths == {}
    assert one.client.next_timer() is None


def test_an_answer_under_another_key_than_the_relay_s_is_ignored() -> None:
    world, one, two, three = make_world()
    one.seek(two)
    asked = next(m for m in sends(world, AllocateRequest) if isinstance(m, AllocateRequest))
    answer = AllocateResponse(asked.generation, make_allocation(one, two))
    for sender, node in (
        (three.node.disco, world.relay.node.key),  # the right node, another key
        (world.relay.node.disco, three.node.key),  # the right key, another node
        (three.node.disco, three.node.key),
    ):
        one.client.on_message(sender, answer, ByDerp(900, node), world.now)
    one.settle()

    assert sends(world, BindRelay, CallMeMaybeVia) == []


def test_a_challenge_from_a_relay_that_we_never_asked_is_ignored() -> None:
    world, one, two, _ = make_world()
    challenge = BindChallenge(vni=1, generation=1, remote=two.node.disco)
    one.client.on_message(make_disco(1050), challenge, ByRelay(two.address, 1), 0.0)
    one.settle()

    assert world.sent == []


# --- a peer that lies ---------------------------------------------------------------------------


def test_a_peer_speaks_for_itself_only() -> None:
    world, one, two, three = make_world()
    tell(one, two, make_allocation(one, three))
    tell(one, two, make_allocation(two, three))
    tell(one, two, make_allocation(one, two, relay=one.node.disco))

    assert sends(world, BindRelay) == []


def test_a_call_that_did_not_come_by_derp_is_ignored() -> None:
    world, one, two, _ = make_world()
    tell(one, two, make_allocation(one, two), ByUdp(two.address))
    tell(one, two, make_allocation(one, two), ByRelay(two.address, 1))

    assert sends(world, BindRelay) == []


def test_a_peer_cannot_take_the_place_of_another_that_is_in_use() -> None:
    world, one, two, three = make_world()
    one.seek(two)
    world.run(1)
    one.ping(two)
    world.run(1)
    path = one.paths[two.node.key]
    tell(one, three, make_allocation(one, three, vni=path.vni, lamport=99))
    world.run(1)
    one.pongs.clear()
    one.ping(two)
    world.run(1)

    assert one.paths == {two.node.key: path}
    assert one.pongs


def test_a_peer_that_calls_again_and_again_makes_us_bind_a_few_times() -> None:
    world, one, two, _ = make_world()
    for number in range(1000):
        tell(one, two, make_allocation(one, two, relay=make_disco(5000 + number)))

    assert len(sends(world, BindRelay)) <= CALLS_HEEDED
    assert len(list(one.client.places())) <= PLACES_PER_PEER


def test_the_places_of_a_node_are_bounded() -> None:
    world = World()
    one = world.add(1)
    peers = [make_node(n) for n in range(100, 100 + 400)]
    one.client.set_nodes(one.node.key, [], peers)
    for peer in peers:
        for number in range(PLACES_PER_PEER):
            allocation = Allocation(
                relay=make_disco(9000 + number),
                clients=(one.node.disco, peer.disco),
                lamport=1,
                vni=number * 1000 + int.from_bytes(peer.key.raw[-2:], "big"),
                bind_lifetime=10**9,
                steady_lifetime=10**9,
                addresses=(make_endpoint("203.0.113.50", 7777),),
            )
            way = ByDerp(900, peer.key)
            one.client.on_message(peer.disco, CallMeMaybeVia(allocation), way, 0.0)

    assert len(list(one.client.places())) == MOST_PLACES


def test_two_relays_cannot_be_at_one_address() -> None:
    """The second one's challenge is not answered, so the first one's packets stay its own."""
    world, one, two, three = make_world()
    one.seek(two)
    world.run(1)
    path = one.paths[two.node.key]
    liar = make_disco(7000)
    tell(one, three, make_allocation(one, three, relay=liar, vni=path.vni))
    asked = [m for m in sends(world, BindRelay) if isinstance(m, BindRelay)][-1]
    challenge = BindChallenge(vni=path.vni, generation=asked.generation, remote=three.node.disco)
    answers = len(sends(world, BindAnswer))
    one.client.on_message(liar, challenge, path.way, world.now)
    one.settle()

    assert len(sends(world, BindAnswer)) == answers
    assert one.paths == {two.node.key: path}


def test_packets_of_another_peer_do_not_keep_a_place_open() -> None:
    world, one, two, three = make_world()
    one.seek(two)
    world.run(1)
    path = one.paths[two.node.key]
    for _ in range(20):
        world.run(20)
        one.client.on_heard(three.node.disco, path.way, world.now)

    assert one.paths == {}
