"""`gatepost ping`: which answer counts."""

from __future__ import annotations

import asyncio
import os
from ipaddress import ip_address

import pytest

from gatepost.daemon.ping import find_target, ping_address, ping_peer
from gatepost.errors import NotFoundError
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.model.status import PingDocument
from gatepost.net.path_ports import PathInfo, PingResult
from gatepost.testing.makers import make_netmap, make_node

FAR = Endpoint(ip_address("192.0.2.7"), 41641)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw ICMP needs CAP_NET_RAW")


async def ping(answer: PingResult, address: str, path: PathInfo | None = None) -> PingDocument:
    async def path_ping(_key: NodePublic, seconds: float) -> PingResult:
        if answer.latency is None:
            await asyncio.sleep(seconds)
        return answer

    found = (make_node(2), ip_address(address))
    return await ping_peer("box2", found, 0.3, path_ping, lambda _: path, lambda r: f"r{r}")


@pytest.mark.parametrize(
    "target", ["box3", "BOX3.mesh.example", "box3.mesh.example.", "100.64.0.3"]
)
def test_a_peer_is_named_by_label_name_or_address(target: str) -> None:
    netmap = make_netmap(2)
    peer, address = find_target(netmap, target)

    assert (peer.id, str(address)) == (3, "100.64.0.3")


def test_without_a_netmap_there_is_nobody() -> None:
    with pytest.raises(NotFoundError, match="gatepost status"):
        find_target(None, "box3")


async def test_path_discovery_says_by_which_way() -> None:
    document = await ping(PingResult(0.01, "direct", FAR), "0.0.0.1")

    assert (document.latency, document.path, document.via) == (0.01, "direct", str(FAR))


async def test_a_relay_is_named() -> None:
    document = await ping(PingResult(0.01, "derp", region=900), "0.0.0.1")

    assert (document.path, document.via) == ("derp", "r900")


@needs_root
async def test_a_peer_without_path_discovery_is_asked_through_the_tunnel() -> None:
    document = await ping(PingResult(None), "127.0.0.1", PathInfo("direct", FAR))

    assert document.latency is not None
    assert (document.path, document.via) == ("direct", str(FAR))


async def test_no_answer_is_said_with_the_time_waited() -> None:
    document = await ping(PingResult(None), "0.0.0.1")

    assert document.latency is None
    assert document.path == "none"
    assert document.error == "box2 did not answer within 0.3 s"


@needs_root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_echo_over_a_real_socket_comes_back(address: str) -> None:
    latency = await ping_address(ip_address(address), 2.0)

    assert latency is not None
    assert 0 < latency < 2
