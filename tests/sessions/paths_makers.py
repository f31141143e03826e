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
    ByRelay,
    ByUdp,
    Counters,
    Output,
    PeerFacts,
    RelayPath,
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
PLACE = RelayPath(
    server=make_endpoint("192.0.2.7", 7777),
    vni=5,
    relay=make_disco(70),
    generation=1,
    endpoint=make_endpoint("198.18.0.1", 1),
)


def make_session(*peers: PeerFacts) -> Paths:
    session = Paths(make_key(1), make_random())
    session.set_own_endpoints((HERE,), NOW, fresh=True)
    session.set_peers(peers or (make_facts(2, "198.51.100.2"),), NOW)
    return session


def pings(outputs: list[Output]) -> dict[Endpoint, Ping]:
    """Return the pings by UDP that are not padded."""
    return {
        o.way.endpoint: o.message
        for o in outputs
        if isinstance(o, Send)
        and isinstance(o.way, ByUdp)
        and isinstance(o.message, Ping)
        and not o.message.padding
    }


def relay_pings(outputs: list[Output]) -> list[tuple[ByRelay, Ping]]:
    """Return the pings through relays that are not padded."""
    return [
        (o.way, o.message)
        for o in outputs
        if isinstance(o, Send)
        and isinstance(o.way, ByRelay)
        and isinstance(o.message, Ping)
        and not o.message.padding
    ]


def relay(session: Paths, now: float, path: RelayPath = PLACE) -> list[Output]:
    """Let a relay path be found and the peer answer on it; return what the answer brings."""
    session.take()
    session.relay_path_found(PEER, path, now)
    way, ping = relay_pings(session.take())[0]
    session.on_disco(DISCO, Pong(ping.transaction, path.server), way, now + 0.03)
    return session.take()


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
    if wanted is State.RELAYED:
        relay(session, NOW)
        return session, NOW + 0.03
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
    endpoint = peer.wireguard if peer else None
    session.on_counters([Counters(key=PEER, endpoint=endpoint, received=octets, sent=0)], now)
