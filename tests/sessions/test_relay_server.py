"""A peer relay's places and handshakes, without sockets."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sessions.relay_client_by_hand import Client, private

from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.relay_server import (
    BIND_LIFETIME,
    CHALLENGE_BURST,
    MOST_UNBOUND,
    SECRET_LIFETIME,
    STEADY_LIFETIME,
    Flow,
    Onward,
    Place,
    RelayServer,
    Reply,
)
from gatepost.wire.disco import Ping
from gatepost.wire.disco_relay import (
    AllocateRequest,
    Allocation,
    BindAnswer,
    BindRelay,
    RelayMessage,
)
from gatepost.wire.geneve import DISCO, WIREGUARD, Geneve, read_geneve, write_geneve

HERE = Local(ip_address("192.0.2.1"), 2)
OURS = Endpoint(HERE.address, 7777)
AT_A, AT_B = Endpoint(ip_address("10.1.0.2"), 5000), Endpoint(ip_address("10.2.0.2"), 6000)
ELSEWHERE = Endpoint(ip_address("10.9.9.9"), 1)


@dataclass
class World:
    """A relay and two clients, one place between them."""

    relay: RelayServer = field(default_factory=lambda: RelayServer(private(), secrets.token_bytes))
    a: Client = field(default_factory=Client)
    b: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.relay.addresses = (OURS,)
        self.place = self.allocate(self.a, self.b)

    def allocate(self, one: Client, other: Client, now: float = 0.0) -> Allocation:
        request = AllocateRequest((one.key.public, other.key.public), 7)
        answer = self.relay.allocate(one.key.public, request, now)
        assert answer is not None
        assert answer.generation == 7
        return answer.allocation

    def bind_message(self, client: Client, generation: int | None = None) -> BindRelay:
        other = self.b if client is self.a else self.a
        number = next(client.generations) if generation is None else generation
        return BindRelay(vni=self.place.vni, generation=number, remote=other.key.public)

    def send(
        self, client: Client, message: RelayMessage | Ping, source: Endpoint, now: float = 0.0
    ) -> Reply | Place | None:
        packet = client.packet(message, self.relay.key, self.place.vni)
        return self.relay.on_control(packet, source, HERE, now)

    def answer(self, client: Client, source: Endpoint, now: float = 0.0) -> BindAnswer:
        """Do the first half: bind, and return the answer to the challenge."""
        reply = self.send(client, self.bind_message(client), source, now)
        assert isinstance(reply, Reply)
        return client.answer(reply.packet)

    def bind(self, client: Client, source: Endpoint, now: float = 0.0) -> Place:
        place = self.send(client, self.answer(client, source, now), source, now)
        assert isinstance(place, Place)
        return place

    def bind_both(self, now: float = 0.0) -> Place:
        self.bind(self.a, AT_A, now)
        return self.bind(self.b, AT_B, now)


def test_two_clients_that_proved_their_addresses_are_joined() -> None:
    world = World()
    place = world.bind_both()

    assert place.flows() == {
        Flow(AT_A, HERE.address, place.vni): Onward(AT_B, HERE.address),
        Flow(AT_B, HERE.address, place.vni): Onward(AT_A, HERE.address),
    }


def test_with_one_end_bound_nothing_is_forwarded() -> None:
    world = World()

    assert world.bind(world.a, AT_A).flows() == {}


def test_a_pair_gets_the_same_place_whoever_asks_and_in_whatever_order() -> None:
    world = World()

    assert world.allocate(world.b, world.a, 5.0) == world.place


def test_every_new_place_has_a_higher_number_and_another_vni() -> None:
    world = World()
    places = [world.allocate(Client(), Client()) for _ in range(20)]

    assert [p.lamport for p in places] == list(range(2, 22))
    assert len({p.vni for p in places}) == 20


def test_a_relay_that_does_not_know_its_addresses_does_not_answer() -> None:
    world = World()
    world.relay.addresses = ()
    request = AllocateRequest((world.a.key.public, Client().key.public), 1)

    assert world.relay.allocate(world.a.key.public, request, 0.0) is None


def test_nobody_gets_a_place_for_others_or_with_oneself_or_with_the_relay() -> None:
    world = World()
    mine, relay = world.a.key.public, world.relay.key
    for pair in ((world.b.key.public, Client().key.public), (mine, mine), (mine, relay)):
        assert world.relay.allocate(mine, AllocateRequest(pair, 1), 0.0) is None


def test_one_client_cannot_take_all_places() -> None:
    world = World()
    greedy = Client()
    for _ in range(MOST_UNBOUND):
        world.allocate(greedy, Client())
    request = AllocateRequest((greedy.key.public, Client().key.public), 1)

    assert world.relay.allocate(greedy.key.public, request, 0.0) is None
    world.allocate(world.b, Client())
    world.relay.expire(BIND_LIFETIME + 1)
    assert world.relay.allocate(greedy.key.public, request, BIND_LIFETIME + 1) is not None


def test_places_that_became_bound_do_not_count_against_their_client() -> None:
    world = World()
    for _ in range(MOST_UNBOUND - 1):
        world.allocate(world.a, Client())
    request = AllocateRequest((world.a.key.public, Client().key.public), 1)
    assert world.relay.allocate(world.a.key.public, request, 0.0) is None
    world.bind_both()

    assert world.relay.allocate(world.a.key.public, request, 0.0) is not None


def test_vnis_of_an_earlier_run_are_not_given_again() -> None:
    numbers = iter([b"\0\0\0", b"\0\0\5", b"\0\0\6"])
    relay = RelayServer(private(), lambda n: next(numbers) if n == 3 else secrets.token_bytes(n))
    relay.reserve([5])

    assert World(relay=relay).place.vni == 6


# --- handshakes -----------------------------------------------------------------------


def test_an_answer_from_another_address_than_the_challenge_binds_nothing() -> None:
    world = World()
    answer = world.answer(world.a, AT_A)

    assert world.send(world.a, answer, ELSEWHERE) is None
    assert isinstance(world.send(world.a, answer, AT_A), Place)


LIES: tuple[Callable[[BindAnswer], BindAnswer], ...] = (
    lambda answer: replace(answer, generation=9),
    lambda answer: replace(answer, generation=0),
    lambda answer: replace(answer, challenge=bytes(32)),
    lambda answer: replace(answer, vni=answer.vni ^ 1),
    lambda answer: replace(answer, remote=DiscoPublic(bytes(32))),
)


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_answer_binds_nothing(lie: Callable[[BindAnswer], BindAnswer]) -> None:
    world = World()

    assert world.send(world.a, lie(world.answer(world.a, AT_A)), AT_A) is None


def test_a_challenge_is_good_after_one_change_of_secrets_and_not_after_two() -> None:
    world = World()
    first = world.answer(world.a, AT_A)
    world.answer(world.b, AT_B, SECRET_LIFETIME + 1)
    assert isinstance(world.send(world.a, first, AT_A, SECRET_LIFETIME + 2), Place)

    second = world.answer(world.a, AT_A, SECRET_LIFETIME + 3)
    world.answer(world.b, AT_B, 2 * SECRET_LIFETIME + 4)
    world.answer(world.b, AT_B, 3 * SECRET_LIFETIME + 5)
    assert world.send(world.a, second, AT_A, 3 * SECRET_LIFETIME + 6) is None


def test_a_challenge_does_not_outlive_a_silence() -> None:
    world = World()
    answer = world.answer(world.a, AT_A)

    assert world.send(world.a, answer, AT_A, 3 * SECRET_LIFETIME) is None


def test_a_client_that_moved_binds_again_and_the_flows_follow() -> None:
    world = World()
    world.bind_both()
    place = world.bind(world.a, ELSEWHERE, 10.0)

    assert set(place.flows()) == {
        Flow(ELSEWHERE, HERE.address, place.vni),
        Flow(AT_B, HERE.address, place.vni),
    }


def test_a_handshake_played_again_does_not_move_a_client_back() -> None:
    world = World()
    bind = world.a.packet(world.bind_message(world.a, 50), world.relay.key, world.place.vni)
    reply = world.relay.on_control(bind, AT_A, HERE, 0.0)
    assert isinstance(reply, Reply)
    answer = world.a.packet(world.a.answer(reply.packet), world.relay.key, world.place.vni)
    assert isinstance(world.relay.on_control(answer, AT_A, HERE, 0.0), Place)
    world.bind(world.a, ELSEWHERE, 1.0)

    assert world.relay.on_control(bind, AT_A, HERE, 2.0) is None
    assert world.relay.on_control(answer, AT_A, HERE, 2.0) is None
    place = world.relay.place(world.place.vni)
    assert place is not None
    assert place.end_at(ELSEWHERE) is not None


def test_binds_from_thousands_of_forged_addresses_leave_nothing_and_are_limited() -> None:
    world = World()
    replies = list[Reply]()
    longest = 0
    for i in range(5000):
        packet = world.a.packet(world.bind_message(world.a), world.relay.key, world.place.vni)
        longest = max(longest, len(packet))
        answer = world.relay.on_control(packet, Endpoint(ip_address(i + (1 << 28)), 9), HERE, 0.0)
        if isinstance(answer, Reply):
            replies.append(answer)

    assert len(replies) == CHALLENGE_BURST
    assert max(len(r.packet) for r in replies) <= longest  # no amplification
    assert len(world.relay) == 1
    place = world.relay.place(world.place.vni)
    assert place is not None
    assert place.flows() == {}
    assert all(not end.finished for end in place.ends)


def test_somebody_elses_handshake_is_dropped_without_an_answer() -> None:
    world = World()
    stranger = Client()

    assert world.send(stranger, world.bind_message(world.a), ELSEWHERE) is None


def test_what_is_not_a_handshake_is_dropped() -> None:
    world = World()
    good = world.a.packet(world.bind_message(world.a), world.relay.key, world.place.vni)
    _, inner = read_geneve(good)
    wrong = (
        write_geneve(Geneve(world.place.vni, WIREGUARD, is_control=True), inner),
        write_geneve(Geneve(world.place.vni, DISCO), inner),
        write_geneve(Geneve(world.place.vni ^ 1 or 2, DISCO, is_control=True), inner),
        world.a.packet(Ping(bytes(12)), world.relay.key, world.place.vni),
    )
    for packet in wrong:
        assert world.relay.on_control(packet, AT_A, HERE, 0.0) is None


def test_a_generation_of_zero_is_no_handshake() -> None:
    world = World()

    assert world.send(world.a, world.bind_message(world.a, 0), AT_A) is None


@given(st.data())
def test_truncated_and_altered_handshakes_never_bind(data: st.DataObject) -> None:
    world = World()
    packet = world.a.packet(world.answer(world.a, AT_A), world.relay.key, world.place.vni)
    if data.draw(st.booleans()):
        bad = packet[: data.draw(st.integers(0, len(packet) - 1))]
    else:
        at = data.draw(st.integers(0, len(packet) - 1))
        bad = packet[:at] + bytes((packet[at] ^ data.draw(st.integers(1, 255)),)) + packet[at + 1 :]

    assert world.relay.on_control(bad, AT_A, HERE, 0.0) is None


# --- lifetimes ------------------------------------------------------------------------


def test_a_place_that_is_not_bound_in_time_is_closed() -> None:
    world = World()
    world.bind(world.a, AT_A, 1.0)

    assert world.relay.expire(BIND_LIFETIME) == ()
    (closed,) = world.relay.expire(BIND_LIFETIME + 0.1)
    assert closed.vni == world.place.vni
    assert len(world.relay) == 0
    assert world.allocate(world.a, world.b, 40.0).lamport == 2


def test_a_bound_place_lives_while_both_ends_send() -> None:
    world = World()
    world.bind_both()
    for now in (200.0, 400.0):
        world.relay.on_traffic(world.place.vni, AT_A, 3, 300, now)
        world.relay.on_traffic(world.place.vni, AT_B, 1, 100, now)
    assert world.relay.expire(400.0 + STEADY_LIFETIME) == ()

    world.relay.on_traffic(world.place.vni, AT_A, 1, 100, 500.0)
    (closed,) = world.relay.expire(400.1 + STEADY_LIFETIME)
    assert [end.packets for end in closed.ends if end.source == AT_A] == [7]


def test_traffic_of_nobody_is_counted_for_nobody() -> None:
    world = World()
    world.bind_both()
    world.relay.on_traffic(world.place.vni, ELSEWHERE, 5, 5, 1.0)
    world.relay.on_traffic(world.place.vni ^ 1, AT_A, 5, 5, 1.0)
    place = world.relay.place(world.place.vni)

    assert place is not None
    assert sum(end.packets for end in place.ends) == 0
