"""Addresses, routes and rules, read back with `ip` and by ourselves."""

from __future__ import annotations

import contextlib
import json
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from tests.linux.inside import PATIENCE, apply, run_inside, settle

from gatepost.linux.addresses import Addresses
from gatepost.linux.netlink import Netlink
from gatepost.linux.routes import Routes
from gatepost.linux.rules import Rules
from gatepost.model.kernel import Address, Route, Rule
from gatepost.model.owned import ROUTE_TABLE
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root

V4, V6 = ip_address("100.64.0.1"), ip_address("fd7a:115c:a1e0::1")
ROUTES = (
    Route(ROUTE_TABLE, ip_network("10.0.0.0/8"), "gatepost0", source=V4),
    Route(ROUTE_TABLE, ip_network("0.0.0.0/0"), "gatepost0"),
    Route(ROUTE_TABLE, ip_network("240.64.0.0/10"), "gatepost0", mtu=1260),
    Route(ROUTE_TABLE, ip_network("fd00:4::/64"), "gatepost0", mtu=1280),
    Route(ROUTE_TABLE, ip_network("10.1.0.0/16"), kind="throw"),
    Route(ROUTE_TABLE, ip_network("10.2.0.0/16"), kind="blackhole"),
    Route(ROUTE_TABLE, ip_network("fd00:1::/64"), "gatepost0", source=V6),
    Route(ROUTE_TABLE, ip_network("::/0"), "gatepost0"),
    Route(ROUTE_TABLE, ip_network("fd00:2::/64"), kind="throw"),
    Route(ROUTE_TABLE, ip_network("fd00:3::/64"), kind="blackhole"),
    Route(ROUTE_TABLE, ip_network("10.4.0.0/16"), gateway=ip_address("192.0.2.9")),
    Route(ROUTE_TABLE, ip_network("fd00:5::/64"), gateway=ip_address("fd00:6::9")),
)
RULES = (
    Rule(family=4, priority=5210, table=254, mark=0x80000, mask=0xFF0000),
    Rule(family=4, priority=5260, table=53, destination=ip_network("198.18.0.0/15")),
    Rule(family=4, priority=5270, table=52),
    Rule(family=4, priority=5280, table=54, mark=0, mask=0xFF0000, own=True),
    Rule(family=6, priority=5281, table=54, mark=0, mask=0xFF0000, source=ip_network("fd00::/64")),
    Rule(family=6, priority=5260, table=53, destination=ip_network("2001:2::/48")),
    Rule(family=6, priority=5210, table=1000, mark=0x80000),
    Rule(family=6, priority=5270, table=52, mark=0x80000, mask=0xFF0000, invert=True),
)


@pytest.fixture
def box(machine: Machine) -> Machine:
    """Return a machine with a stand-in for our device."""
    machine.ip(
        "link add gatepost0 type veth peer name peer0",
        "link set peer0 up",
        "link set gatepost0 up",
        f"address add {V4}/32 dev gatepost0",
        f"address add {V6}/128 dev gatepost0 nodad",
        "address add 192.0.2.1/24 dev peer0",
        "address add fd00:6::1/64 dev peer0 nodad",
    )
    return machine


def test_routes_reach_the_goal_and_the_second_round_writes_nothing(box: Machine) -> None:
    run_inside(box, lambda netlink: settle(Routes(netlink), *ROUTES))


def test_ip_sees_the_routes_as_they_were_meant(box: Machine) -> None:
    run_inside(box, lambda netlink: apply(Routes(netlink), *ROUTES))
    shown = json.loads(box.run("ip", "-json", "route", "show", "table", "52"))

    assert {(r["dst"], r.get("type", "unicast"), r.get("prefsrc")) for r in shown} == {
        ("10.0.0.0/8", "unicast", str(V4)),
        ("default", "unicast", None),
        ("240.64.0.0/10", "unicast", None),
        ("10.1.0.0/16", "throw", None),
        ("10.2.0.0/16", "blackhole", None),
        ("10.4.0.0/16", "unicast", None),
    }
    assert {r["protocol"] for r in shown} == {"152"}


def test_a_route_changed_or_removed_by_hand_comes_back(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        routes = Routes(netlink)
        await settle(routes, *ROUTES)
        box.ip(
            "route delete 10.0.0.0/8 table 52",
            "route replace blackhole 0.0.0.0/0 table 52",
        )
        box.run("ip", "-6", "route", "delete", "fd00:1::/64", "table", "52")

        assert len(await apply(routes, *ROUTES)) == 3
        await settle(routes, *ROUTES)

    run_inside(box, work)


def test_routes_go_when_nobody_wants_them_and_a_strangers_stay(box: Machine) -> None:
    box.ip("route add 10.9.0.0/16 dev gatepost0 table 52", "route add 10.8.0.0/16 dev gatepost0")

    async def work(netlink: Netlink) -> None:
        routes = Routes(netlink)
        await settle(routes, *ROUTES)
        await settle(routes)

    run_inside(box, work)
    shown = json.loads(box.run("ip", "-json", "route", "show", "table", "all"))

    assert {"10.9.0.0/16", "10.8.0.0/16"} <= {r["dst"] for r in shown}
    assert "10.0.0.0/8" not in {r["dst"] for r in shown}


def test_a_new_device_with_the_number_of_an_old_one_is_told_from_it(box: Machine) -> None:
    destination = ip_network("10.0.0.0/8")

    async def work(netlink: Netlink) -> None:
        routes = Routes(netlink)
        box.ip("link add eth5 index 50 type veth peer name peer5", "link set eth5 up")
        await settle(routes, Route(ROUTE_TABLE, destination, "eth5"))
        box.ip(
            "link delete eth5",
            "link add eth6 index 50 type veth peer name peer6",
            "link set eth6 up",
            f"route add {destination} dev eth6 table 52 protocol 152",
        )

        assert await routes.read() == {Route(ROUTE_TABLE, destination, "eth6")}

    run_inside(box, work)


def test_a_route_to_a_device_that_is_not_there_is_named(box: Machine) -> None:
    lost = Route(ROUTE_TABLE, ip_network("10.0.0.0/8"), "missing0")

    with pytest.raises(OSError, match=r"10\.0\.0\.0/8: no device missing0"):
        run_inside(box, lambda netlink: apply(Routes(netlink), lost))


def test_the_kernels_refusal_names_the_route_and_the_others_are_written(box: Machine) -> None:
    odd = Route(ROUTE_TABLE, ip_network("10.3.0.0/16"), "gatepost0", source=ip_address("10.7.7.7"))

    with pytest.raises(OSError, match=r"10\.3\.0\.0.*Invalid"):
        run_inside(box, lambda netlink: apply(Routes(netlink), odd, *ROUTES))
    assert set(run_inside(box, lambda netlink: Routes(netlink).read())) == set(ROUTES)


def test_ten_thousand_routes_are_programmed_within_three_seconds(box: Machine) -> None:
    many = [
        Route(ROUTE_TABLE, ip_network((0x0A000000 + 256 * n, 24)), "gatepost0", source=V4)
        for n in range(10_000)
    ]

    async def work(netlink: Netlink) -> float:
        routes = Routes(netlink)
        start, before = time.monotonic(), _queued()
        await apply(routes, *many)
        taken = time.monotonic() - start
        # What other programs took of the processors while we could have used them.
        queued = max(after - before.get(thread, 0.0) for thread, after in _queued().items())
        assert await apply(routes, *many) == ()
        return taken - queued

    assert run_inside(box, work) < 3.0 * PATIENCE


def _queued() -> dict[str, float]:
    """Return how many seconds each thread of this process has waited for a processor.

    The second number of /proc/PID/task/TID/schedstat, in nanoseconds.
    """
    found: dict[str, float] = {}
    for folder in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[folder.name] = int((folder / "schedstat").read_text().split()[1]) / 1e9
    return found


def test_rules_reach_the_goal_and_the_second_round_writes_nothing(box: Machine) -> None:
    run_inside(box, lambda netlink: settle(Rules(netlink), *RULES))
    shown = box.run("ip", "rule") + box.run("ip", "-6", "rule")

    assert "5210:\tfrom all fwmark 0x80000/0xff0000 lookup main proto 152" in shown
    assert "5270:\tnot from all fwmark 0x80000/0xff0000 lookup 52 proto 152" in shown


def test_a_rule_that_was_bent_doubled_or_removed_is_put_right(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        rules = Rules(netlink)
        await settle(rules, *RULES)
        box.ip(
            "rule del priority 5270",
            "rule add priority 5270 from 10.0.0.0/8 lookup 52 protocol 152",
            "rule add priority 5210 lookup 253 protocol 152",
        )
        box.run("ip", "-6", "rule", "del", "priority", "5270")

        assert len(await apply(rules, *RULES)) == 3
        await settle(rules, *RULES)

    run_inside(box, work)


def test_a_strangers_rule_at_our_priority_stays(box: Machine) -> None:
    box.ip("rule add priority 5270 lookup 100")

    async def work(netlink: Netlink) -> None:
        rules = Rules(netlink)
        await settle(rules, *RULES)
        await settle(rules)

    run_inside(box, work)

    assert "5270:\tfrom all lookup 100" in box.run("ip", "rule")
    assert "proto 152" not in box.run("ip", "rule")


def test_addresses_reach_the_goal_and_are_told_from_a_strangers(box: Machine) -> None:
    box.ip(
        "link add eth9 type veth peer name peer9",
        "address add 100.64.0.9/32 dev eth9",
        "address add 192.0.2.1/24 dev gatepost0",
    )
    wanted = (Address("gatepost0", V4), Address("gatepost0", ip_address("fd7a:115c:a1e0::7")))

    async def work(netlink: Netlink) -> None:
        addresses = Addresses(netlink)
        await settle(addresses, *wanted)
        box.ip(f"address delete {V4}/32 dev gatepost0")
        await settle(addresses, *wanted)

    run_inside(box, work)
    shown = box.run("ip", "-o", "address")

    assert "192.0.2.1/24" in shown
    assert "100.64.0.9/32" in shown
    assert f"{V6}/128" not in shown


def test_an_address_on_somebody_elses_device_is_refused(box: Machine) -> None:
    with pytest.raises(OSError, match="lo is not ours"):
        run_inside(box, lambda netlink: apply(Addresses(netlink), Address("lo", V4)))
