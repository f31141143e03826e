"""The promises of the relay client, in a small world with one relay."""

from __future__ import annotations

from collections import Counter

from tests.sessions.relay_world import (
    Host,
    Relay,
    World,
    make_client,
    make_disco,
    make_endpoint,
    make_key,
    make_node,
)

from gatepost.model.keys import DiscoPublic
from gatepost.sessions.paths_outputs import ByRelay, Send
from gatepost.sessions.relay_client import RelayClient
from gatepost.sessions.relay_client_numbers import ASK_FOR, BIND_FOR
from gatepost.sessions.relay_client_outputs import AskOurselves, Outcome, RelayNode
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    BindAnswer,
    BindChallenge,
    BindRelay,
    CallMeMaybeVia,
)


def make_world(relay: Relay | None = None) -> tuple[World, Host, Host]:
    world = World(relay)
    one, two = world.add(1), world.add(2)
    world.introduce()
    return world, one, two


def make_open(relay: Relay | None = None) -> tuple[World, Host, Host]:
    """Return a world in which the two reach each other by the relay."""
    world, one, two = make_world(relay)
    one.seek(two)
    world.run(1)
    one.ping(two)
    world.run(1)
    assert one.pongs
    return world, one, two


def outcome(host: Host, other: Host, relay: Relay) -> Outcome:
    return host.client.outcomes(other.node.key)[relay.node.key]


# --- all goes well ------------------------------------------------------------------------


def test_both_ends_are_bound_by_the_call_of_one() -> None:
    world, one, two = make_world()
    one.seek(two)
    world.run(1)

    assert one.paths[two.node.key].way == two.paths[one.node.key].way
    assert len(world.relay.bound) == 2


def test_a_ping_comes_back_through_the_relay() -> None:
    world, one, two = make_open()

    assert one.pongs == [one.paths[two.node.key].way]
    assert outcome(one, two, world.relay) is Outcome.WORKS


def test_our_end_is_found_within_six_trips() -> None:
    world, one, two = make_world()
    one.seek(two)
    world.run(6 * 0.02 + 0.001)

    assert two.node.key in one.paths


def test_all_addresses_of_the_relay_are_asked_and_the_first_answer_counts() -> None:
    addresses = tuple(make_endpoint(f"203.0.113.{n}", 7777) for n in (50, 51, 52))
    world, one, two = make_world(Relay(addresses=addresses))
    one.seek(two)
    world.run(0.13)

    assert Counter(type(m) for m in world.sent)[BindRelay] == 6  # by both ends
    assert world.relay.answers == 2
    assert one.paths[two.node.key].server == addresses[0]


def test_two_that_ask_at_once_meet_in_one_place() -> None:
    world, one, two = make_world()
    one.seek(two)
    two.seek(one)
    world.run(1)
    one.ping(two)
    world.run(1)

    assert one.pongs
    assert len(world.relay.allocations) == 1
    assert world.relay.answers == 2


def test_a_node_that_is_a_relay_itself_asks_itself() -> None:
    client = make_client(1)
    client.set_nodes(make_key(1), [make_node(1)], [make_node(2)])
    client.seek(make_key(2), 0.0)
    (asked,) = client.take()

    assert isinstance(asked, AskOurselves)
    assert asked.request.clients == (make_disco(1), make_disco(2))


def test_without_a_relay_nobody_is_asked() -> None:
    client = make_client(1)
    client.set_nodes(make_key(1), [], [make_node(2)])
    client.seek(make_key(2), 0.0)

    assert client.take() == []


def test_generations_are_never_zero_and_never_the_same() -> None:
    client = RelayClient(make_disco(1), lambda size: b"\xff" * size)
    client.set_nodes(
        make_key(1), [make_node(n) for n in range(50, 58)], [make_node(2), make_node(3)]
    )
    client.seek(make_key(2), 0.0)
    client.seek(make_key(3), 0.0)
    sent = [o.message for o in client.take() if isinstance(o, Send)]
    generations = {m.generation for m in sent if isinstance(m, AllocateRequest)}

    assert 0 not in generations
    assert len(generations) == 16


# --- what gets lost -----------------------------------------------------------------------


def test_a_lost_request_is_asked_again_once() -> None:
    world, one, two = make_world()
    lost = Counter[str]()

    def lose(message: object) -> bool:
        lost["lost"] += isinstance(message, AllocateRequest)
        return isinstance(message, AllocateRequest) and lost["lost"] == 1

    world.loses = lose
    one.seek(two)
    world.run(4)

    assert two.node.key in one.paths


def test_a_lost_bind_challenge_or_answer_is_said_again() -> None:
    for kind in (BindRelay, BindChallenge, BindAnswer):
        world, one, two = make_world()
        lost = Counter[str]()

        def lose(message: object, kind: type = kind, lost: Counter[str] = lost) -> bool:
            lost["lost"] += isinstance(message, kind)
            return isinstance(message, kind) and lost["lost"] <= 2

        world.loses = lose
        one.seek(two)
        world.run(2.5)
        one.ping(two)
        world.run(1)

        assert one.pongs, kind


def test_an_answer_that_was_heard_is_not_repeated() -> None:
    world, _, _ = make_open()
    world.run(10)

    assert Counter(type(m) for m in world.sent)[BindAnswer] == 2


def test_a_relay_that_never_answers_is_given_up_and_named() -> None:
    relay = Relay(is_away=True)
    world, one, two = make_world(relay)
    one.seek(two)
    assert outcome(one, two, relay) is Outcome.ASKED
    world.run(ASK_FOR + 1)

    assert outcome(one, two, relay) is Outcome.SILENT
    assert one.client.next_timer() is None
    assert Counter(type(m) for m in world.sent)[AllocateRequest] == 2


def test_a_relay_behind_a_wall_is_given_up_and_named() -> None:
    relay = Relay(is_deaf=True)
    world, one, two = make_world(relay)
    one.seek(two)
    world.run(BIND_FOR + 1)

    assert outcome(one, two, relay) is Outcome.UNREACHABLE
    assert one.client.next_timer() is None
    assert Counter(type(m) for m in world.sent)[BindRelay] == 10  # five by each


def test_a_peer_that_never_binds_is_named() -> None:
    world, one, two = make_world()
    world.loses = lambda m: isinstance(m, CallMeMaybeVia)
    one.seek(two)
    world.run(1)
    assert two.node.key in one.paths
    world.run(BIND_FOR)

    assert one.paths == {}
    assert outcome(one, two, world.relay) is Outcome.ONE_SIDED


# --- lifetimes ----------------------------------------------------------------------------


def test_a_place_is_lost_after_the_relay_s_own_lifetime() -> None:
    world, one, two = make_open(Relay(steady_lifetime=40))
    world.run(30)
    assert two.node.key in one.paths
    world.run(12)

    assert one.paths == {}
    assert outcome(one, two, world.relay) is Outcome.EXPIRED


def test_a_place_that_is_used_stays() -> None:
    world, one, two = make_open(Relay(steady_lifetime=40))
    for _ in range(10):
        one.ping(two)
        world.run(20)

    assert two.node.key in one.paths


def test_a_place_in_use_is_not_bound_again_when_it_is_told_again() -> None:
    world, one, two = make_open()
    answers = world.relay.answers
    one.seek(two)
    world.run(1)

    assert world.relay.answers == answers


def test_a_silent_place_is_bound_again_when_it_is_told_again() -> None:
    world, one, two = make_open()
    world.run(30)
    answers = world.relay.answers
    one.seek(two)
    world.run(1)

    assert world.relay.answers == answers + 2


def test_after_a_new_address_the_place_is_bound_again() -> None:
    world, one, two = make_open()
    one.address = make_endpoint("198.51.100.77", 1234)
    one.pongs.clear()
    one.ping(two)
    world.run(1)
    assert not one.pongs
    one.client.rebind(world.now)
    one.settle()
    world.run(1)
    one.ping(two)
    world.run(1)

    assert one.pongs


def test_a_place_bound_at_another_address_of_the_relay_is_lost_at_the_old_one() -> None:
    addresses = tuple(make_endpoint(f"203.0.113.{n}", 7777) for n in (50, 51))
    world, one, two = make_open(Relay(addresses=addresses))
    before = one.paths[two.node.key]
    world.relay.addresses = addresses[1:]
    one.client.rebind(world.now)
    one.settle()
    world.run(1)

    assert before.server == addresses[0]
    assert one.paths[two.node.key].server == addresses[1]
    assert one.lost == [before]


def test_a_relay_that_started_again_gives_a_new_place_and_the_old_one_is_lost() -> None:
    world, one, two = make_open()
    world.relay.restart()
    world.run(30)
    before = one.paths[two.node.key]
    one.seek(two)
    world.run(1)
    one.pongs.clear()
    one.ping(two)
    world.run(1)

    assert one.paths[two.node.key] != before
    assert one.pongs == [one.paths[two.node.key].way]


def test_a_peer_that_is_gone_or_has_a_new_key_has_no_path() -> None:
    for peers in ([], [RelayNode(key=make_key(2), disco=make_disco(3), home=900)]):
        world, one, _ = make_open()
        one.client.set_nodes(one.node.key, [world.relay.node], peers)
        one.settle()

        assert one.paths == {}
        assert one.client.next_timer() is None


# --- one address, several places -------------------------------------------------------------


def test_three_peers_at_one_relay_have_a_place_each() -> None:
    world = World()
    one, two, three = (world.add(n) for n in (1, 2, 3))
    world.introduce()
    one.seek(two)
    one.seek(three)
    two.seek(three)
    world.run(1)

    ways = {path.way for host in (one, two, three) for path in host.paths.values()}
    assert ways == {ByRelay(world.relay.addresses[0], vni) for vni in (1, 2, 3)}


class ReusingRelay(Relay):
    """Gives the same VNI to everybody, one after the other."""

    def allocate(self, request: AllocateRequest) -> AllocateResponse | None:
        self.lamport += 1
        response = AllocateResponse(request.generation, self.make_allocation(request))
        allocation = response.allocation
        return AllocateResponse(
            request.generation,
            type(allocation)(
                relay=allocation.relay, clients=allocation.clients, lamport=self.lamport, vni=7,
                bind_lifetime=allocation.bind_lifetime,
                steady_lifetime=allocation.steady_lifetime, addresses=allocation.addresses,
            ),
        )  # fmt: skip


def test_a_number_that_a_relay_uses_again_moves_to_the_new_peer_when_the_old_is_silent() -> None:
    world = World(ReusingRelay())
    one, two, three = (world.add(n) for n in (1, 2, 3))
    world.introduce()
    one.seek(two)
    world.run(60)
    one.seek(three)
    world.run(1)

    assert set(one.paths) == {three.node.key}


def test_a_number_in_use_is_not_taken_from_its_peer() -> None:
    world = World(ReusingRelay())
    one, two, three = (world.add(n) for n in (1, 2, 3))
    world.introduce()
    one.seek(two)
    world.run(1)
    one.ping(two)
    world.run(1)
    one.seek(three)
    world.run(1)

    assert set(one.paths) == {two.node.key}
    assert outcome(one, three, world.relay) is Outcome.REFUSED


def test_keys_of_relays_are_known_while_we_bind_and_not_otherwise() -> None:
    world, one, two = make_world()
    assert not one.client.is_known(world.relay.disco)
    one.seek(two)
    world.run(0.1)

    assert one.client.is_known(world.relay.disco)
    assert not one.client.is_known(DiscoPublic(bytes(32)))


def test_what_cannot_be_a_relay_s_address_gets_no_packet() -> None:
    addresses = (make_endpoint("127.0.0.1"), make_endpoint("224.0.0.1"), make_endpoint("::"))
    world, one, two = make_world(Relay(addresses=addresses))
    one.seek(two)
    world.run(40)

    assert not any(isinstance(m, BindRelay) for m in world.sent)
