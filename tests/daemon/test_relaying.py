"""Who gets a place at this node's relay, and what happens when it cannot run."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from tests.net.waiting import eventually

from gatepost.daemon.relay_mapping import RelayMapping
from gatepost.daemon.relaying import FIRST_PAUSE, LAST_PAUSE, MAY_USE, Relaying, next_pause
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, Grant, NetMap
from gatepost.model.observed import Watch
from gatepost.model.process import PeerRelay
from gatepost.net.relay_ports import NoForwarder
from gatepost.testing.makers import make_netmap, make_node, make_range
from gatepost.wire.disco_relay import AllocateRequest

SHE, HE = DiscoPublic(secrets.token_bytes(32)), DiscoPublic(secrets.token_bytes(32))
HERE = ip_address("192.0.2.1")
OUTSIDE = ip_address("203.0.113.1")
REQUEST = AllocateRequest((SHE, HE), 1)


def make_mesh(capability: str = MAY_USE) -> NetMap:
    """Return a mesh in which peer 2 has a capability here and peer 3 has none."""
    netmap = make_netmap(me=make_node(1), others=(make_node(2), make_node(3)))
    grant = Grant(
        sources=tuple(make_range(f"{a}/{a.max_prefixlen}") for a in netmap.peers[0].addresses),
        destinations=tuple(make_range(f"{a}/{a.max_prefixlen}") for a in netmap.me.addresses),
        capabilities={capability: ()},
    )
    return replace(netmap, grants=(grant,))


class Keeper:
    """One port at a `Router`."""

    def __init__(self, router: Router, port: int, on_change: Callable[[], None]) -> None:
        self._router, self._port, self._on_change = router, port, on_change

    def use(self, *, on: bool, upnp: bool = True) -> None:
        before = self.endpoints()
        self._router.forwarded.discard(self._port)
        if on and upnp:  # all that this one speaks
            self._router.forwarded.add(self._port)
        if self.endpoints() != before:
            self._on_change()

    def endpoints(self) -> tuple[Endpoint, ...]:
        is_mapped = self._port in self._router.forwarded
        return (Endpoint(OUTSIDE, self._port),) if is_mapped else ()

    async def close(self) -> None:
        self._router.left = frozenset(self._router.forwarded)


@dataclass
class Router:
    """A router that forwards whatever port it is asked for."""

    forwarded: set[int] = field(default_factory=set[int])
    left: frozenset[int] = frozenset()  # when the last keeper was closed

    def keep(self, port: int, on_change: Callable[[], None]) -> Keeper:
        return Keeper(self, port, on_change)


@dataclass
class Bed:
    """A relay's runner and the ports that it told."""

    ports: list[object] = field(default_factory=list[object])
    router: Router = field(default_factory=Router)

    def __post_init__(self) -> None:
        self.relaying = Relaying(
            own_addresses=lambda: (HERE,),
            forwarder=NoForwarder("not in this test"),
            publish=self.publish,
            mapping=RelayMapping(self.router.keep),
        )

    def publish(self, _watch: Watch[int], answer: object) -> None:
        self.ports.append(answer)

    async def start(self, port: int = 0, *, netmap: NetMap | None = None) -> int:
        self.relaying.set_netmap(netmap or make_mesh())
        self.relaying.replace([PeerRelay(port=port)])
        await eventually(lambda: any(self.ports))
        (opened,) = (p for p in self.ports if p)
        assert isinstance(opened, int)
        return opened

    def asks(self, node: NodePublic, request: AllocateRequest = REQUEST) -> bool:
        return self.relaying.allocate(SHE, node, request) is not None


class Closable(NoForwarder):
    """Remembers that it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    made = Bed()
    yield made
    await made.relaying.close()


async def test_whoever_was_granted_it_gets_a_place_at_the_open_port(bed: Bed) -> None:
    port = await bed.start()
    answer = bed.relaying.allocate(SHE, make_mesh().peers[0].key, REQUEST)

    assert answer is not None
    assert answer.allocation.addresses == (Endpoint(HERE, port),)


def told(bed: Bed) -> tuple[Endpoint, ...]:
    answer = bed.relaying.allocate(SHE, make_mesh().peers[0].key, REQUEST)
    assert answer is not None
    return answer.allocation.addresses


async def test_clients_are_told_the_port_that_the_router_forwards_first(bed: Bed) -> None:
    bed.relaying.mapping.use(on=True, upnp=True)
    port = await bed.start()
    mapped = told(bed)
    bed.relaying.mapping.use(on=False, upnp=True)

    assert mapped == (Endpoint(OUTSIDE, port), Endpoint(HERE, port))
    assert told(bed) == (Endpoint(HERE, port),)


async def test_a_port_is_given_back_with_its_relay_and_left_by_a_daemon_that_ends() -> None:
    bed = Bed()
    bed.relaying.mapping.use(on=True, upnp=True)
    await bed.start()
    bed.relaying.replace([])
    without = set(bed.router.forwarded)
    bed.ports.clear()
    port = await bed.start()
    await bed.relaying.close()

    assert without == set()
    assert bed.router.left == {port}


async def test_peers_without_the_grant_strangers_and_other_capabilities_hear_nothing(
    bed: Bed,
) -> None:
    await bed.start()
    assert not bed.asks(make_mesh().peers[1].key)
    assert not bed.asks(make_node(9).key)

    bed.relaying.set_netmap(make_mesh("tailscale.com/cap/relay-target"))
    assert not bed.asks(make_mesh().peers[0].key)


async def test_a_grant_that_is_taken_back_counts_at_once(bed: Bed) -> None:
    await bed.start()
    assert bed.asks(make_mesh().peers[0].key)
    bed.relaying.set_netmap(replace(make_mesh(), grants=()))

    assert not bed.asks(make_mesh().peers[0].key)


async def test_without_a_relay_or_a_netmap_there_are_no_places(bed: Bed) -> None:
    bed.relaying.set_netmap(make_mesh())
    assert not bed.asks(make_mesh().peers[0].key)
    await bed.start()
    bed.relaying.set_netmap(None)

    assert not bed.asks(make_mesh().peers[0].key)


async def test_the_port_is_given_back_when_nobody_wants_the_relay(bed: Bed) -> None:
    port = await bed.start()
    bed.relaying.replace([])
    await eventually(lambda: bed.ports[-1] == 0)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("0.0.0.0", port))
    assert bed.relaying.state() is None


async def test_a_relay_that_is_wanted_again_waits_for_its_port(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    port = await bed.start()
    bed.relaying.replace([])
    bed.relaying.replace([PeerRelay(port=port)])
    await eventually(lambda: bed.ports[-2:] == [0, port])

    assert caplog.messages == []


def test_pauses_grow_while_a_relay_fails_at_once_and_are_short_after_a_good_run() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_pause(pauses[-1], lasted=0.1))

    assert pauses == [0.0, FIRST_PAUSE, 2.0, 4.0, 8.0, 16.0, 32.0, LAST_PAUSE, LAST_PAUSE]
    assert next_pause(LAST_PAUSE, lasted=3600.0) == FIRST_PAUSE


async def test_another_port_means_another_relay(bed: Bed) -> None:
    first = await bed.start()
    bed.ports.clear()
    bed.relaying.replace([PeerRelay(port=0, static=(Endpoint(HERE, 9),))])
    await eventually(lambda: any(bed.ports))
    state = bed.relaying.state()

    assert state is not None
    assert state.addresses[0] == Endpoint(HERE, 9)
    assert first != 0


async def test_a_port_that_is_taken_is_a_notice_that_names_it(bed: Bed) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = int(taken.getsockname()[1])
        bed.relaying.replace([PeerRelay(port=port)])
        await eventually(bed.relaying.notices)
        (notice,) = bed.relaying.notices()
        assert f"relay port {port}" in notice.text
        await asyncio.sleep(0)

    await eventually(lambda: any(bed.ports))  # it tries again
    assert bed.relaying.notices() == ()


async def test_the_end_lets_go_of_the_kernels_table() -> None:
    forwarder = Closable("not in this test")
    mapping = RelayMapping(Router().keep)
    relaying = Relaying(
        own_addresses=tuple, forwarder=forwarder, publish=lambda _w, _a: None, mapping=mapping
    )
    await relaying.close()

    assert forwarder.closed


async def test_without_the_kernel_the_state_says_why(bed: Bed) -> None:
    await bed.start()
    state = bed.relaying.state()

    assert state is not None
    assert state.trouble == "not in this test"
