"""What carries packets beside WireGuard, when a port is not to be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence

import pytest
from tests.net.waiting import eventually

from gatepost.daemon.carriers import Carriers, Pair
from gatepost.model.keys import DiscoPrivate, NodePrivate, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import DISCO_PORT_OFFSET
from gatepost.net.derp_client import DerpClients
from gatepost.net.path_ports import PeerCounters
from gatepost.net.paths import PathService
from gatepost.testing.makers import make_netmap

pytestmark = pytest.mark.root  # the sockets are marked, which takes CAP_NET_ADMIN
KEY = NodePrivate(bytes(range(32)))


class NoTunnel:
    """A device that is not there."""

    async def peers(self) -> Sequence[PeerCounters]:
        return ()

    async def set_endpoints(self, endpoints: Mapping[NodePublic, Endpoint]) -> None: ...


def ignore(region: int, source: NodePublic, packet: bytes) -> None:
    """Nobody sends anything here."""


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        yield sock


async def test_a_pair_whose_port_was_taken_is_made_anew_when_it_is_free(
    taken: socket.socket,
) -> None:
    port = int(taken.getsockname()[1]) - DISCO_PORT_OFFSET
    made: list[Pair] = []

    def make(key: NodePrivate) -> Pair:
        paths = PathService(
            node=key.public,
            disco=DiscoPrivate(bytes(range(1, 33))),
            tunnel=NoTunnel(),
            addresses=tuple,
            on_change=lambda: None,
            port=port,
        )
        made.append(Pair(paths, DerpClients(key, on_packet=ignore)))
        return made[-1]

    carriers = Carriers(make, pause=0.01)
    carriers.use(KEY, make_netmap())
    try:
        await eventually(lambda: [n.code for n in carriers.notices()] == ["paths-failed"])
        taken.close()
        await eventually(lambda: not carriers.notices())

        assert len({id(pair.derp) for pair in made}) == len(made) > 1
    finally:
        await carriers.close()
