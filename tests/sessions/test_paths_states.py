"""Every state of a path times each input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sessions.paths_makers import (
    DISCO,
    FAR,
    HERE,
    HOME,
    NEAR,
    PEER,
    PING,
    PLACE,
    counters,
    make_state,
    pings,
    relay,
    state,
)
from tests.sessions.paths_world import (
    DATA,
    REGION,
    make_disco,
    make_facts,
)

from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import (
    ByUdp,
    PeerFacts,
)
from gatepost.sessions.paths_peer import State
from gatepost.wire.disco import CallMeMaybe, Pong

Input = Callable[[Paths, float], None]


def _pong(session: Paths, now: float) -> None:
    """Answer a ping that was sent just now."""
    session.take()
    session.on_disco(DISCO, CallMeMaybe((FAR,)), HOME, now)
    outputs = session.take()
    session.on_disco(DISCO, Pong(pings(outputs)[FAR].transaction, HERE), ByUdp(FAR), now + 0.01)


def _moved(session: Paths, now: float) -> None:
    """Read the counters twice."""
    counters(session, now, 0)
    counters(session, now, 9)


def _known(session: Paths, now: float) -> None:
    """Let a path of the relay that may be known end."""
    session.relay_path_lost(PEER, PLACE, now)


INPUTS: dict[str, Input] = {
    "packet to the proxy": lambda s, t: s.on_outbound(PEER, DATA, t),
    "packet by DERP": lambda s, t: void(s.on_derp_packet(REGION, PEER, DATA, t)),
    "pong": _pong,
    "ping": lambda s, t: s.on_disco(DISCO, PING, ByUdp(NEAR), t),
    "call": lambda s, t: s.on_disco(DISCO, CallMeMaybe((NEAR,)), HOME, t),
    "gone from DERP": lambda s, _: s.on_derp_gone(REGION, PEER),
    "counters the same": lambda s, t: counters(s, t, 0),
    "counters moved": _moved,
    "same netmap": lambda s, t: s.set_peers((make_facts(2, "198.51.100.2"),), t),
    "new disco key": lambda s, t: s.set_peers(
        (PeerFacts(key=PEER, disco=make_disco(3), endpoints=(NEAR,), home=REGION),), t
    ),
    "relay path unanswered": lambda s, t: s.relay_path_found(PEER, PLACE, t),
    "relay path answered": lambda s, t: void(relay(s, t)),
    "relay path lost": _known,
    "ping by relay": lambda s, t: s.on_disco(DISCO, PING, PLACE.way, t),
    "packet by relay": lambda s, t: void(s.on_relay_packet(PEER, DATA, t)),
    "7 s of silence": lambda s, t: s.on_timer(t + 7),
}
_I, _S, _L = State.IDLE, State.SEEKING, State.RELAYED
_D, _R = State.DIRECT, State.RESTING
TABLE: dict[str, tuple[State, State, State, State, State]] = {
    #                        IDLE SEEK RELAY DIRECT REST
    "packet to the proxy": (_S, _S, _L, _D, _D),
    "packet by DERP": (_S, _S, _L, _D, _D),
    "pong": (_R, _D, _D, _D, _R),
    "ping": (_I, _S, _L, _D, _R),
    "call": (_I, _S, _L, _D, _R),
    "gone from DERP": (_I, _S, _L, _D, _R),
    "counters the same": (_I, _S, _L, _D, _R),
    "counters moved": (_S, _S, _L, _D, _D),
    "same netmap": (_I, _S, _L, _D, _R),
    "new disco key": (_I, _S, _S, _D, _R),
    "relay path unanswered": (_I, _S, _L, _D, _R),
    "relay path answered": (_R, _L, _L, _D, _R),
    "relay path lost": (_I, _S, _S, _D, _R),
    "ping by relay": (_I, _S, _L, _D, _R),
    "packet by relay": (_S, _S, _L, _D, _D),
    "7 s of silence": (_I, _S, _S, _S, _I),
}


def void(_: object) -> None:
    """Drop a value, so that a lambda returns nothing."""


def test_the_table_names_every_input() -> None:
    assert TABLE.keys() == INPUTS.keys()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("before", State)
def test_every_input_leads_every_state_where_the_table_says(before: State, name: str) -> None:
    session, now = make_state(before)
    assert state(session, now) is before
    INPUTS[name](session, now)

    later = now + 7 if name == "7 s of silence" else now + 0.01
    assert state(session, later) is TABLE[name][list(State).index(before)]


@pytest.mark.parametrize("before", State)
def test_the_endpoint_follows_the_state_and_nothing_else(before: State) -> None:
    session, _ = make_state(before)
    peer = session.peer(PEER)
    assert peer

    assert (peer.direct is not None) == (before in {State.DIRECT, State.RESTING})
    assert (peer.relay is not None) == (before is State.RELAYED)
    expected = {State.RELAYED: PLACE.endpoint, State.DIRECT: NEAR, State.RESTING: NEAR}
    assert peer.wireguard == expected.get(before)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("late", [0.01, 0.3, 5.0, 44.99, 45.0, 45.02, 50.0, 51.6, 60.0, 86400.0])
@pytest.mark.parametrize("before", State)
def test_nothing_is_due_any_more_after_a_timer_that_came_late(before: State, late: float) -> None:
    """A machine that was stopped for a while goes on without one timer for each second of it."""
    session, now = make_state(before)
    session.on_timer(now + late)
    due = session.next_timer()

    assert due is None or due > now + late
