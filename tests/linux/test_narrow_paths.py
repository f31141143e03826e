"""Paths that lose long packets without a word, with a real kernel.

box (10.9.0.2, fd00:9::2) --- router --- peer (10.8.0.2, fd00:8::2)

The way between router and peer carries 1,280 octets, and the router says nothing of it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest
from tests.linux.inside import apply, run_inside

from gatepost.linux.narrow_paths import SEGMENT_4, SEGMENT_6, NarrowPaths, narrow_text
from gatepost.linux.netlink import Netlink
from gatepost.linux.rules import Rules
from gatepost.model.kernel import Rule
from gatepost.model.netmap import Endpoint, IPNetwork
from gatepost.model.owned import MARK, NARROW_PRIORITY, NARROW_TABLE, NFT_NARROW_TABLE
from gatepost.testing.netns import Machine, connect, machines, patient

PORT = 41641
WAIT = patient(3.0)  # seconds for a packet that has to come
A_WHILE = 0.3  # seconds for one that must not
WHOLE = bytes(1312)  # a packet of 1,280 octets in WireGuard's
PEER = {4: Endpoint(ip_address("10.8.0.2"), PORT), 6: Endpoint(ip_address("fd00:8::2"), PORT)}
BEHIND = (ip_network("100.64.0.2/32"), ip_network("fd7a:115c:a1e0::2/128"))
root = pytest.mark.root


@dataclass(frozen=True)
class Bed:
    box: Machine
    router: Machine
    peer: Machine


@pytest.fixture
def bed() -> Iterator[Bed]:
    with machines() as owner:
        box, router, peer = owner.add("box", "router", "peer")
        connect(box, "wan0", router, "lan0")
        connect(router, "lan1", peer, "eth0")
        box.ip(
            "address add 10.9.0.2/24 dev wan0",
            "address add fd00:9::2/64 dev wan0 nodad",
            "route add default via 10.9.0.1",
            "route add default via fd00:9::1",
        )
        router.ip(
            "address add 10.9.0.1/24 dev lan0",
            "address add fd00:9::1/64 dev lan0 nodad",
            "address add 10.8.0.1/24 dev lan1",
            "address add fd00:8::1/64 dev lan1 nodad",
            "link set lan1 mtu 1280",
        )
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        router.nft(
            "table inet mute { chain out { type filter hook output priority 0;\n"
            "icmp type destination-unreachable drop\nicmpv6 type packet-too-big drop\n}\n}"
        )
        peer.ip(
            "address add 10.8.0.2/24 dev eth0",
            "address add fd00:8::2/64 dev eth0 nodad",
            "route add default via 10.8.0.1",
            "route add default via fd00:8::1",
        )
        yield Bed(box, router, peer)


def socket_in(machine: Machine, version: int) -> socket.socket:
    async def work(_: Netlink) -> socket.socket:
        family, anywhere = (
            (socket.AF_INET6, "::") if version == 6 else (socket.AF_INET, "0.0.0.0")  # as WireGuard
        )
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        opened.bind((anywhere, PORT))
        return opened

    return run_inside(machine, work)


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def talk(bed: Bed, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return WireGuard's socket on the box and on the peer."""
    ours, theirs = socket_in(bed.box, version), socket_in(bed.peer, version)
    yield ours, theirs
    ours.close()
    theirs.close()


def comes(talk: tuple[socket.socket, socket.socket], to: Endpoint, seconds: float) -> bool:
    """Send a whole packet of the tunnel and say whether it comes."""
    ours, theirs = talk
    theirs.settimeout(seconds)
    ours.sendto(WHOLE, (str(to.address), to.port))
    try:
        return theirs.recv(2048) == WHOLE
    except TimeoutError:
        return False


def make_narrow(machine: Machine, *wishes: Mapping[Endpoint, tuple[IPNetwork, ...]]) -> None:
    """Apply one wish after the other, as one daemon does it."""

    async def work(netlink: Netlink) -> None:
        paths = NarrowPaths(netlink)
        rules = [
            Rule(family=family, priority=NARROW_PRIORITY, table=NARROW_TABLE, mark=MARK)
            for family in (4, 6)
        ]
        await apply(Rules(netlink), *rules)
        for wish in wishes:
            await paths.apply(wish)

    run_inside(machine, work)


def routes(machine: Machine) -> list[str]:
    found: list[str] = []
    for family in ("-4", "-6"):
        done = machine.attempt("ip", "-j", family, "route", "show", "table", str(NARROW_TABLE))
        found += [r["dst"] for r in json.loads(done.stdout or "[]")]
    return found


@root
def test_whole_packets_arrive_at_a_narrow_address(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    peer = PEER[version]
    assert not comes(talk, peer, A_WHILE)  # or this shows nothing

    make_narrow(bed.box, {peer: BEHIND})

    assert comes(talk, peer, WAIT)


@root
def test_the_way_to_a_narrow_address_follows_the_main_table(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    peer = PEER[version]
    make_narrow(bed.box, {peer: BEHIND})
    other = {4: "10.9.0.7", 6: "fd00:9::7"}[version]
    length = {4: 24, 6: 64}[version]
    bed.router.ip(f"address add {other}/{length} dev lan0" + (" nodad" if version == 6 else ""))
    bed.box.ip(f"route replace default via {other}")

    make_narrow(bed.box, {peer: BEHIND})

    text = bed.box.run("ip", f"-{version}", "route", "show", "table", str(NARROW_TABLE))
    assert f"via {other} " in text
    assert comes(talk, peer, WAIT)


@root
def test_who_is_narrow_no_more_leaves_nothing_behind(bed: Bed) -> None:
    narrow = {PEER[4]: BEHIND, PEER[6]: BEHIND}
    make_narrow(bed.box, narrow)
    assert set(routes(bed.box)) == {str(e.address) for e in narrow}

    make_narrow(bed.box, narrow, {})

    assert routes(bed.box) == []
    assert NFT_NARROW_TABLE not in bed.box.run("nft", "list", "tables")


@root
def test_who_is_still_narrow_changes_nothing_in_nftables(bed: Bed) -> None:
    async def work(netlink: Netlink) -> list[int]:
        paths = NarrowPaths(netlink)
        handles: list[int] = []
        for wish in ({PEER[4]: BEHIND}, {PEER[4]: BEHIND}, {PEER[4]: BEHIND[:1]}):
            await paths.apply(wish)
            listing = json.loads(bed.box.run("nft", "-j", "list", "tables"))["nftables"]
            handles += [t["table"]["handle"] for t in listing if "table" in t]
        return handles

    first, second, other = run_inside(bed.box, work)

    assert first == second != other


@root
def test_what_an_earlier_daemon_left_goes(bed: Bed) -> None:
    make_narrow(bed.box, {PEER[4]: BEHIND})

    make_narrow(bed.box, {})

    assert routes(bed.box) == []
    assert NFT_NARROW_TABLE not in bed.box.run("nft", "list", "tables")


@root
def test_the_device_that_goes_takes_its_routes_along(bed: Bed) -> None:
    make_narrow(bed.box, {PEER[4]: BEHIND})

    bed.box.ip("link set wan0 down")

    assert routes(bed.box) == []
    make_narrow(bed.box, {PEER[4]: BEHIND})  # and nobody complains


def test_networks_that_hold_each_other_are_one_element() -> None:
    text = narrow_text(map(ip_network, ("10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "10.0.0.0/8")))

    assert "{ 10.0.0.0/8 }" in text
    assert f"maxseg size set {SEGMENT_4}" in text
    assert f"maxseg size set {SEGMENT_6}" in text


def test_nothing_narrow_is_no_table() -> None:
    assert narrow_text(()).splitlines()[1:] == [f"delete table inet {NFT_NARROW_TABLE}"]
