"""Two sessions in a small world: what people notice of path discovery."""

from __future__ import annotations

import pytest
from tests.sessions.paths_world import (
    DATA,
    INITIATION,
    Host,
    Nat,
    World,
    make_endpoint,
    make_key,
)

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_peer import State


def make_world(*nats: Nat | None) -> tuple[World, Host, Host]:
    """Return a world of two hosts that know each other; a NAT hides a host's address."""
    addresses = ("192.168.1.2", "192.168.2.2") if all(nats) else ("198.51.100.1", "198.51.100.2")
    one, two = (Host(n, a, nat) for n, (a, nat) in enumerate(zip(addresses, nats, strict=True), 1))
    world = World(one, two)
    world.introduce()
    return world, one, two


def direct(host: Host, other: Host) -> Endpoint | None:
    path = host.session.peer(make_key(other.number))
    return path.direct.endpoint if path and path.direct else None


def state(world: World, host: Host, other: Host) -> State:
    path = host.session.peer(make_key(other.number))
    assert path
    return path.state(world.now)


def test_the_first_packet_goes_by_derp_and_the_path_is_direct_one_round_trip_later() -> None:
    world, one, two = make_world(None, None)
    world.packet(one, two)
    world.run(0.1)

    assert [(how, packet) for _, how, packet in two.received] == [("derp", DATA)]
    assert direct(one, two) == make_endpoint("198.51.100.2")
    assert direct(two, one) == make_endpoint("198.51.100.1")


def test_two_nats_are_opened_by_calls_through_derp() -> None:
    world, one, two = make_world(Nat("203.0.113.10"), Nat("203.0.113.20"))
    world.packet(one, two)
    world.run(1.0)

    assert direct(one, two) == make_endpoint("203.0.113.20", 50000)
    assert direct(two, one) == make_endpoint("203.0.113.10", 50000)


def test_a_symmetric_nat_is_reached_by_the_address_its_ping_came_from() -> None:
    world, one, two = make_world(Nat("203.0.113.10", symmetric=True), None)
    world.packet(one, two)
    world.run(1.0)

    assert direct(one, two) == make_endpoint("198.51.100.2")
    assert direct(two, one) not in {None, make_endpoint("203.0.113.10", 50000)}


def test_two_symmetric_nats_stay_on_derp_and_lose_nothing() -> None:
    nats = Nat("203.0.113.10", symmetric=True), Nat("203.0.113.20", symmetric=True)
    world, one, two = make_world(*nats)
    for _ in world.talk(one, two, 20.0):
        pass

    assert direct(one, two) is direct(two, one) is None
    assert {how for _, how, _ in two.received} == {"derp"}
    assert len(two.received) == 100


def test_traffic_is_back_within_ten_seconds_after_a_cut_and_direct_again_after_it() -> None:
    world, one, two = make_world(None, None)
    for _ in world.talk(one, two, 10.0):
        pass
    world.udp_works = False
    cut = world.now
    for _ in world.talk(one, two, 20.0):
        pass
    world.udp_works = True
    for _ in world.talk(one, two, 10.0):
        pass
    first_by_derp = next(t for t, how, _ in two.received if how == "derp" and t > cut)

    assert first_by_derp - cut < 10.0
    assert two.received[-1][1] == "udp"


def test_a_lossy_path_is_kept() -> None:
    world, one, two = make_world(None, None)
    world.lost = lambda n: n % 7 == 0
    for _ in world.talk(one, two, 120.0):
        pass

    assert one.moves == one.moves[:1]
    assert direct(one, two)


def test_silence_ends_the_heartbeats_and_hands_the_endpoint_back_to_the_proxy() -> None:
    world, one, two = make_world(None, None)
    for _ in world.talk(one, two, 2.0):
        pass
    world.run(60.0)
    sent = one.sent_packets, two.sent_packets
    world.run(600.0)

    assert (one.sent_packets, two.sent_packets) == sent
    assert state(world, one, two) is state(world, two, one) is State.IDLE
    assert direct(one, two) is None
    assert one.session.next_timer() is None


def test_a_peer_that_is_told_of_us_late_is_found_soon_after() -> None:
    one, two = Host(1, "198.51.100.1"), Host(2, "198.51.100.2")
    world = World(one, two)
    world.introduce()
    two.session.set_peers((), world.now)
    world.packet(one, two, INITIATION)
    world.run(0.4)
    before = direct(one, two)
    world.introduce()
    world.run(0.6)

    assert before is None
    assert direct(one, two)
    assert [how for t, how, p in two.received if p == INITIATION and t > world.now - 0.6]


def test_one_way_traffic_keeps_the_path_on_both_sides() -> None:
    world, one, two = make_world(None, None)
    for _ in range(200):
        world.packet(one, two)
        world.run(0.5)

    assert state(world, one, two) is State.DIRECT
    assert {how for t, how, _ in two.received if t > world.now - 90} == {"udp"}


@pytest.mark.parametrize("delay", [0.001, 0.05, 0.3])
def test_the_path_is_found_at_any_distance(delay: float) -> None:
    one, two = Host(1, "192.168.1.2", Nat("203.0.113.10")), Host(2, "198.51.100.2")
    world = World(one, two, delay=delay)
    world.introduce()
    world.packet(one, two)
    world.run(6 * delay)

    assert direct(one, two)
    assert direct(two, one)
