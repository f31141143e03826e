"""A session with one peer, brought into any state."""

from __future__ import annotations

from tests.sessions.paths_world import (
    DATA,
    REGION,
    make_disco,
    make_endpoint,
    make_facts,
    make_key,
    make_random,
)

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import (
    ByDerp,
    ByUdp,
    Counters,
    Output,
    PeerFacts,
    Send,
)
from gatepost.sessions.paths_peer import State
from gatepost.wire.disco import Ping, Pong

PEER, DISCO = make_key(2), make_disco(2)
HOME = ByDerp(REGION, PEER)
NEAR, FAR = make_endpoint("198.51.100.2"), make_endpoint("203.0.113.2")
HERE = make_endpoint("198.51.100.1")
NOW = 1000.0
PING = Ping(b"from-the-peer", PEER)


def make_session(*peers: PeerFacts) -> Paths:
    session = Paths(make_key(1), make_random())
    session.set_own_endpoints((HERE,), NOW, fresh=True)
    session.set_peers(peers or (make_facts(2, "198.51.100.2"),), NOW)
    return session


def pings(outputs: list[Output]) -> dict[Endpoint, Ping]:
    """Return the pings by UDP."""
    return {
        o.way.endpoint: o.message
        for o in outputs
        if isinstance(o, Send) and isinstance(o.way, ByUdp) and isinstance(o.message, Ping)
    }


def answer(session: Paths, endpoint: Endpoint, outputs: list[Output], now: float) -> list[Output]:
    """Let the peer answer the ping to `endpoint`."""
    pong = Pong(pings(outputs)[endpoint].transaction, HERE)
    session.on_disco(DISCO, pong, ByUdp(endpoint), now)
    return session.take()


def seek(session: Paths, now: float = NOW) -> list[Output]:
    session.on_outbound(PEER, DATA, now)
    return session.take()


def make_state(wanted: State) -> tuple[Paths, float]:
    """Return a session whose peer is in a state, and the time."""
    session = make_session()
    if wanted is State.IDLE:
        return session, NOW
    asked = seek(session)
    if wanted is State.SEEKING:
        return session, NOW
    answer(session, NEAR, asked, NOW + 0.01)
    if wanted is State.DIRECT:
        return session, NOW + 0.01
    now = NOW + 0.01
    while now < NOW + 46:
        session.on_timer(now)
        outputs = session.take()
        if NEAR in pings(outputs):
            answer(session, NEAR, outputs, now)
        now += 0.5
    return session, now


def state(session: Paths, now: float) -> State:
    peer = session.peer(PEER)
    assert peer
    return peer.state(now)


def counters(session: Paths, now: float, octets: int) -> None:
    peer = session.peer(PEER)
    endpoint = peer.direct.endpoint if peer and peer.direct else None
    session.on_counters([Counters(key=PEER, endpoint=endpoint, received=octets, sent=0)], now)
