"""One place at a relay: each of its states times each thing that can happen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.sessions.relay_world import NS, make_disco, make_endpoint, make_key

from gatepost.model.netmap import Endpoint
from gatepost.sessions.relay_client_numbers import (
    ANSWER_AGAIN,
    BIND_AGAIN,
    BIND_FOR,
    HEARD_LATELY,
    MOST_ADDRESSES,
    STEADY_FROM,
    STEADY_TO,
)
from gatepost.sessions.relay_client_place import Place, PlaceState
from gatepost.wire.disco_relay import Allocation, BindAnswer, BindChallenge, BindRelay

SERVER = make_endpoint("203.0.113.50", 7777)
OTHER = make_endpoint("203.0.113.51", 7777)
REMOTE = make_disco(2)
VNI, GENERATION, STEADY = 9, 77, 300.0
NOW = 1000.0
ALLOCATION = Allocation(
    relay=make_disco(1050),
    clients=(make_disco(1), REMOTE),
    lamport=1,
    vni=VNI,
    bind_lifetime=30 * NS,
    steady_lifetime=int(STEADY * NS),
    addresses=(SERVER, OTHER),
)
CHALLENGE = BindChallenge(vni=VNI, generation=GENERATION, remote=REMOTE, challenge=bytes(range(32)))


def make_place(state: PlaceState, allocation: Allocation = ALLOCATION) -> Place:
    """Return a place that came into `state` at NOW."""
    place = Place(make_key(2), REMOTE, allocation)
    place.bind(GENERATION, NOW)
    if state is not PlaceState.BINDING:
        assert place.on_challenge(CHALLENGE, SERVER, NOW)
    if state is PlaceState.OPEN:
        place.on_heard(NOW)
    return place


def challenge(place: Place) -> None:
    place.on_challenge(CHALLENGE, SERVER, NOW)


def hear(place: Place) -> None:
    place.on_heard(NOW)


def bind(place: Place) -> None:
    place.bind(GENERATION + 1, NOW)


def wait(place: Place) -> None:
    place.on_timer(place.timer)


# What each state becomes by each input; whoever adds a state adds a line.
TABLE: dict[PlaceState, dict[Callable[[Place], None], PlaceState]] = {
    PlaceState.BINDING: {
        challenge: PlaceState.ANSWERED,
        hear: PlaceState.BINDING,  # by an earlier binding: it proves nothing about this one
        bind: PlaceState.BINDING,
        wait: PlaceState.BINDING,
    },
    PlaceState.ANSWERED: {
        challenge: PlaceState.ANSWERED,
        hear: PlaceState.OPEN,
        bind: PlaceState.BINDING,
        wait: PlaceState.ANSWERED,
    },
    PlaceState.OPEN: {
        challenge: PlaceState.OPEN,
        hear: PlaceState.OPEN,
        bind: PlaceState.BINDING,
        wait: PlaceState.OPEN,
    },
}


def test_the_table_has_every_state() -> None:
    assert set(TABLE) == set(PlaceState)
    assert len({frozenset(line) for line in TABLE.values()}) == 1


@pytest.mark.parametrize("state", PlaceState)
@pytest.mark.parametrize("event", [challenge, hear, bind, wait], ids=lambda f: f.__name__)
def test_each_state_takes_each_input(state: PlaceState, event: Callable[[Place], None]) -> None:
    place = make_place(state)
    event(place)

    assert place.state is TABLE[state][event]


@pytest.mark.parametrize("state", PlaceState)
def test_every_state_ends_when_nothing_happens(state: PlaceState) -> None:
    place = make_place(state)
    sent = 0
    while not place.is_over(place.timer):
        sent += len(place.on_timer(place.timer))
    lifetime = STEADY if state is PlaceState.OPEN else BIND_FOR

    assert place.timer == NOW + lifetime
    assert (
        sent
        == {
            PlaceState.BINDING: 2 * len(BIND_AGAIN),
            PlaceState.ANSWERED: len(ANSWER_AGAIN),
            PlaceState.OPEN: 0,
        }[state]
    )


def test_a_timer_that_comes_too_early_sends_nothing() -> None:
    for state in PlaceState:
        place = make_place(state)
        when = place.timer

        assert place.on_timer(NOW) == []
        assert place.timer == when


# --- what a challenge must be ---------------------------------------------------------------


def test_the_answer_goes_back_with_the_challenge_to_where_it_came_from() -> None:
    place = make_place(PlaceState.ANSWERED)
    (sent,) = place.answer()

    assert sent.receiver == ALLOCATION.relay
    assert sent.message == BindAnswer(
        vni=VNI, generation=GENERATION, remote=REMOTE, challenge=bytes(range(32))
    )
    assert place.path is not None
    assert place.path.way == sent.way


LIES: dict[str, tuple[BindChallenge, Endpoint]] = {
    "another VNI": (replace(CHALLENGE, vni=VNI + 1), SERVER),
    "an earlier binding": (replace(CHALLENGE, generation=GENERATION - 1), SERVER),
    "somebody else": (replace(CHALLENGE, remote=make_disco(3)), SERVER),
    "an address that is not the relay's": (CHALLENGE, make_endpoint("203.0.113.99", 7777)),
    "another port of the relay": (CHALLENGE, make_endpoint("203.0.113.50", 7778)),
}


@pytest.mark.parametrize("what", LIES)
def test_a_challenge_that_does_not_fit_is_not_answered(what: str) -> None:
    place = make_place(PlaceState.BINDING)
    wrong, server = LIES[what]

    assert not place.on_challenge(wrong, server, NOW)
    assert (place.state, place.answer(), place.path) == (PlaceState.BINDING, [], None)


def test_a_second_challenge_changes_nothing() -> None:
    place = make_place(PlaceState.ANSWERED)

    assert not place.on_challenge(CHALLENGE, OTHER, NOW)
    assert place.path is not None
    assert place.path.server == SERVER


# --- lifetimes and limits ---------------------------------------------------------------------


def test_the_relay_s_lifetimes_count_only_within_reason() -> None:
    for told, believed in ((0.0, STEADY_FROM), (60.0, 60.0), (1e9, STEADY_TO)):
        of = replace(ALLOCATION, steady_lifetime=int(told * NS))

        assert make_place(PlaceState.OPEN, of).timer == NOW + believed
    for told, believed in ((5.0, 5.0), (1e9, BIND_FOR)):
        place = make_place(PlaceState.BINDING, replace(ALLOCATION, bind_lifetime=int(told * NS)))

        assert place.is_over(NOW + believed)
        assert not place.is_over(NOW + believed - 0.01)


def test_a_relay_with_many_addresses_makes_us_write_to_a_few() -> None:
    many = tuple(make_endpoint(f"203.0.113.{n}") for n in range(1, 200))
    place = Place(make_key(2), REMOTE, replace(ALLOCATION, addresses=many))

    assert len(place.bind(1, NOW)) == MOST_ADDRESSES


def test_a_place_that_was_heard_lately_is_not_stale() -> None:
    place = make_place(PlaceState.OPEN)

    assert not place.is_stale(NOW + HEARD_LATELY)
    assert place.is_stale(NOW + HEARD_LATELY + 0.01)
    assert not make_place(PlaceState.BINDING).is_stale(NOW + 100)


def test_bound_again_at_the_same_address_it_asks_no_other() -> None:
    place = make_place(PlaceState.OPEN)
    (request,) = place.bind(GENERATION + 1, NOW, same=True)
    again = replace(CHALLENGE, generation=GENERATION + 1)

    assert place.path is not None
    assert request.way == place.path.way
    assert not place.on_challenge(again, OTHER, NOW)
    assert place.on_challenge(again, SERVER, NOW)


def test_while_it_is_bound_again_the_old_path_stays() -> None:
    place = make_place(PlaceState.OPEN)
    before = place.path
    requests = place.bind(GENERATION + 1, NOW)

    assert place.path == before
    assert {type(r.message) for r in requests} == {BindRelay}
