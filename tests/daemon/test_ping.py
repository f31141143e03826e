"""`gatepost ping`: which answer counts."""

from __future__ import annotations

import asyncio
import os
from ipaddress import ip_address

import pytest

from gatepost.daemon.ping import Means, PingQuestion, find_target, ping_address, ping_peer
from gatepost.errors import NotFoundError
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.model.status import PingDocument, PingKind
from gatepost.net.path_ports import PathInfo, PingResult
from gatepost.testing.makers import make_netmap, make_node

FAR = Endpoint(ip_address("192.0.2.7"), 41641)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw ICMP needs CAP_NET_RAW")


async def ping(
    answer: PingResult, address: str, path: PathInfo | None = None, kind: PingKind = "disco"
) -> PingDocument:
    async def path_ping(_key: NodePublic, seconds: float, _size: int) -> PingResult:
        if answer.latency is None:
            await asyncio.sleep(seconds)
        return answer

    async def tsmp_ping(_address: IPAddress, _seconds: float) -> float | None:
        return 0.5

    found = (make_node(2), ip_address(address))
    question = PingQuestion(target="box2", seconds=0.3, kind=kind)
    means = Means(
        path_ping=path_ping,
        tsmp_ping=tsmp_ping,
        path_of=lambda _: path,
        region_name=lambda r: f"r{r}",
    )
    return await ping_peer(question, found, means)


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


async def test_a_peer_relay_is_named_with_our_place_there() -> None:
    document = await ping(PingResult(0.01, "relay", FAR, vni=7), "0.0.0.1")

    assert (document.path, document.via) == ("relay", f"{FAR} vni 7")


@needs_root
async def test_who_asks_for_an_echo_does_not_get_the_answer_of_path_discovery() -> None:
    path = PathInfo("derp", region=900)
    document = await ping(PingResult(9.0, "direct", FAR), "127.0.0.1", path, "icmp")

    assert (document.path, document.via) == ("derp", "r900")
    assert document.latency is not None
    assert document.latency < 9.0


async def test_who_asks_the_daemon_gets_its_answer() -> None:
    document = await ping(
        PingResult(9.0, "direct", FAR), "0.0.0.1", PathInfo("direct", FAR), "tsmp"
    )

    assert (document.latency, document.path, document.via) == (0.5, "direct", str(FAR))


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
