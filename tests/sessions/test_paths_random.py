"""Two sessions and a network that loses, delays and reorders, behind routers of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sessions.paths_world import DATA, Host, Nat, World, make_key

from gatepost.sessions.paths_report import PathReport

CONVERGED = 20.0  # seconds that finding a path may take where one in five packets is lost
RECOVERED = 10.0  # seconds that it may take after a path broke
LOSS = 0.1  # of UDP packets, one way


@dataclass(frozen=True)
class Kind:
    """A router's model; `name` is how a failing example shows it."""

    name: str
    symmetric: bool = False
    lets: str = "port"

    def make(self, public: str) -> Nat | None:
        return Nat(public, self.symmetric, self.lets) if self.name != "none" else None


NONE, CONE, ADDRESS = Kind("none"), Kind("cone", lets="any"), Kind("address", lets="address")
PORT, SYMMETRIC = Kind("port"), Kind("symmetric", symmetric=True)
KINDS = (NONE, CONE, ADDRESS, PORT, SYMMETRIC)
HOPELESS = ({SYMMETRIC}, {SYMMETRIC, PORT})

kinds = st.sampled_from(KINDS)
networks = st.tuples(st.integers(0, 2**32), st.floats(0.001, 0.12), st.floats(0.0, LOSS))


def make_chance(seed: int) -> Callable[[], float]:
    """Return a source of numbers from 0 to 1 that depends on nothing but the seed."""
    turns = count()

    def chance() -> float:
        text = f"{seed} {next(turns)}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32

    return chance


def make_world(one: Kind, two: Kind, network: tuple[int, float, float]) -> World:
    """Return two hosts that know each other; a network is a seed, a delay and a part lost."""
    seed, delay, loss = network
    chance = make_chance(seed)
    hosts = (
        Host(1, "192.168.1.2" if one is not NONE else "198.51.100.1", one.make("203.0.113.10")),
        Host(2, "192.168.2.2" if two is not NONE else "198.51.100.2", two.make("203.0.113.20")),
    )
    world = World(*hosts, delay=delay)
    world.lost = lambda _: chance() < loss
    world.jitter = lambda: chance() * delay
    world.introduce()
    return world


def talk(world: World, seconds: float) -> None:
    one, two = world.hosts
    for _ in world.talk(one, two, seconds):
        pass


def reports(world: World) -> list[PathReport]:
    one, two = world.hosts
    ends = one.session.peer(make_key(2)), two.session.peer(make_key(1))
    return [peer.report(world.now) for peer in ends if peer]


def is_possible(one: Kind, two: Kind) -> bool:
    return {one, two} not in HOPELESS


@settings(max_examples=60, deadline=None)
@given(kinds, kinds, networks)
def test_both_become_direct_wherever_that_is_possible_and_stay_so(
    one: Kind, two: Kind, network: tuple[int, float, float]
) -> None:
    world = make_world(one, two, network)
    talk(world, CONVERGED)
    found = [r.path for r in reports(world)]
    before = [len(r.changes) for r in reports(world)]
    talk(world, 60.0)

    assert found == ["direct" if is_possible(one, two) else "derp"] * 2
    assert [len(r.changes) for r in reports(world)] == before


@settings(max_examples=40, deadline=None)
@given(kinds, kinds, networks)
def test_no_packet_is_lost_on_the_way_from_derp_to_direct(
    one: Kind, two: Kind, network: tuple[int, float, float]
) -> None:
    world = make_world(one, two, (network[0], network[1], 0.0))
    first, second = world.hosts
    sent = [DATA + n.to_bytes(4, "big") for n in range(200)]
    for packet in sent:
        world.packet(first, second, packet)
        world.run(0.02)
    world.run(2.0)

    assert {p for _, _, p in second.received} >= set(sent)


def cut(world: World) -> None:
    world.udp_works = False


def cut_one_way(world: World) -> None:
    world.hosts[0].mute = True


def forget(world: World) -> None:
    for host in world.hosts:
        if host.nat:
            host.nat.forget()


def renumber(world: World) -> None:
    nat = world.hosts[1].nat
    if nat:
        nat.forget()
        nat.public = "203.0.113.77"


@pytest.mark.parametrize("event", [cut, cut_one_way, forget, renumber])
@settings(max_examples=30, deadline=None)
@given(kinds, kinds, st.integers(0, 2**32), st.floats(0.001, 0.12), st.floats(0.0, 5.0))
def test_traffic_goes_on_after_whatever_happens_to_a_path(
    event: Callable[[World], None], one: Kind, two: Kind, seed: int, delay: float, later: float
) -> None:
    world = make_world(one, two, (seed, delay, 0.0))
    talk(world, CONVERGED + later)
    event(world)
    at = world.now
    talk(world, RECOVERED)
    early = [len(h.received) for h in world.hosts]
    talk(world, 10.0)
    world.run(1.0)

    for host, before in zip(world.hosts, early, strict=True):
        assert any(at < t < at + RECOVERED for t, _, _ in host.received)
        assert len(host.received) - before >= 49  # of the 50 that left after ten seconds
    expected = "direct" if event not in {cut, cut_one_way} and is_possible(one, two) else "derp"
    assert [r.path for r in reports(world)] == [expected] * 2


@settings(max_examples=30, deadline=None)
@given(kinds, kinds, st.integers(0, 2**32))
def test_a_silent_pair_stops_talking(one: Kind, two: Kind, seed: int) -> None:
    world = make_world(one, two, (seed, 0.02, 0.0))
    talk(world, 3.0)
    world.run(60.0)
    sent = [h.sent_packets for h in world.hosts]
    world.run(600.0)

    assert [h.sent_packets for h in world.hosts] == sent
    assert [h.session.next_timer() for h in world.hosts] == [None, None]
