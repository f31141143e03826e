"""The kernel's events arrive, once, and only those that matter."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_network

import pytest
from tests.linux.inside import run_inside, settle

from gatepost.linux.monitor import GATHER, NOBODY, Monitor, Topic
from gatepost.linux.netlink import Netlink
from gatepost.linux.routes import Routes
from gatepost.model.kernel import Route
from gatepost.model.owned import ROUTE_TABLE
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root

QUIET = 4 * GATHER  # seconds after which nothing more comes


@pytest.fixture
def box(machine: Machine) -> Machine:
    machine.ip(
        "link add eth0 type veth peer name peer0",
        "link set peer0 up",
        "link set eth0 up",
        "address add 192.0.2.1/24 dev eth0",
    )
    return machine


def heard(box: Machine, *lines: str, nft: str = "", sysctl: str = "") -> list[Topic]:
    """Return the topics told while lines of `ip`, nft and one of sysctl are carried out."""

    async def work(_: Netlink) -> list[Topic]:
        topics: list[Topic] = []
        # What the machine still says about its own making comes first.
        with Monitor(topics.extend):
            await asyncio.sleep(QUIET)
            topics.clear()
            await asyncio.to_thread(_do, box, lines, nft, sysctl)
            await asyncio.sleep(QUIET)
        return topics

    return run_inside(box, work)


def _do(box: Machine, lines: tuple[str, ...], nft: str, sysctl: str) -> None:
    if lines:
        box.ip(*lines)
    if nft:
        box.nft(nft)
    if sysctl:
        box.run("sysctl", "-qw", sysctl)


@pytest.mark.parametrize(
    "line",
    [
        "link set eth0 mtu 1400",
        "address add 192.0.2.7/24 dev eth0",
        "address add 2001:db8::7/64 dev eth0 nodad",
        "route add default via 192.0.2.2",
        "route add 10.0.0.0/8 dev eth0 protocol 152",
        "route add 10.0.0.0/8 dev eth0 table 52",
        "rule add priority 5270 lookup 52",
    ],
)
def test_what_matters_is_told(box: Machine, line: str) -> None:
    assert "network" in heard(box, line)


@pytest.mark.parametrize("switch", ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
def test_that_somebody_stopped_forwarding_is_told(box: Machine, switch: str) -> None:
    box.run("sysctl", "-qw", f"{switch}=1")

    assert "network" in heard(box, sysctl=f"{switch}=0")


def test_somebody_elses_routes_are_not_told(box: Machine) -> None:
    assert heard(box, "route add 10.0.0.0/8 dev eth0", "route add 10.1.0.0/16 dev eth0") == []


def test_a_change_of_any_table_is_told_as_filter(box: Machine) -> None:
    assert heard(box, nft="add table inet stranger") == ["filter"]


@pytest.mark.parametrize("is_own", [True, False])
def test_routes_that_were_written_by_the_own_socket_are_not_told(
    box: Machine, is_own: bool
) -> None:
    route = Route(ROUTE_TABLE, ip_network("10.0.0.0/8"), kind="throw")

    async def work(netlink: Netlink) -> list[Topic]:
        topics: list[Topic] = []
        with Monitor(topics.extend, netlink.route.port if is_own else NOBODY):
            await asyncio.sleep(QUIET)
            topics.clear()
            await settle(Routes(netlink), route)
            await settle(Routes(netlink))
            await asyncio.sleep(QUIET)
        return topics

    assert ("network" in run_inside(box, work)) is not is_own


def test_a_storm_is_told_a_few_times(box: Machine) -> None:
    lines = [f"route add 10.{n >> 8}.{n & 255}.0/24 dev eth0 table 52" for n in range(5000)]
    start = time.monotonic()
    topics = heard(box, *lines)
    taken = time.monotonic() - start

    assert 1 <= len(topics) <= taken / GATHER + 1


def test_after_more_events_than_fit_all_is_told_and_it_goes_on(box: Machine) -> None:
    async def work(_: Netlink) -> list[Topic]:
        topics: list[Topic] = []
        with Monitor(topics.extend):
            lines = [f"route add 10.{n >> 8}.{n & 255}.0/24 dev eth0 table 52" for n in range(9999)]
            box.ip(*lines)  # the loop does not listen meanwhile: the socket overflows
            await asyncio.sleep(QUIET)
            topics.clear()
            await asyncio.to_thread(box.ip, "link set eth0 mtu 1400")
            await asyncio.sleep(QUIET)
        return topics

    assert "network" in run_inside(box, work)
