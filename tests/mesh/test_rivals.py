"""Bad days of a LAN that two boxes carry, and of the sites around it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import pytest

from gatepost.model.admin import NodeRequest
from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_rivals import (
    BOXES,
    PRINTER,
    SHARED,
    Rivals,
    longest_silence,
    pings,
    rivals,
    wall_clock,
)
from gatepost.testing.netns import Machine

pytestmark = [pytest.mark.root, pytest.mark.mesh]

LIMIT = 5.0  # seconds of silence


@pytest.fixture(scope="module")
def lan() -> Generator[Rivals]:
    with rivals() as found:
        yield found


@pytest.fixture(autouse=True)
def whole(lan: Rivals) -> Iterator[None]:
    """Begin with both boxes in their places."""
    lan.await_whole()
    yield
    lan.await_whole()


def reaches(machine: Machine, address: str = PRINTER) -> bool:
    return machine.attempt("ping", "-n", "-c1", "-W1", address).returncode == 0


def await_reach(machine: Machine, seconds: float = 15.0) -> None:
    wait_for(
        lambda: reaches(machine) or None,
        seconds=seconds,
        otherwise=lambda: f"{machine.name} does not reach the printer",
    )


def device_to(machine: Machine, address: str = PRINTER) -> str:
    words = machine.run("ip", "route", "get", address).split()
    return words[words.index("dev") + 1]


@pytest.mark.parametrize("name", BOXES)
def test_a_box_in_the_lan_never_goes_through_the_other_one(lan: Rivals, name: str) -> None:
    machine = lan.lab.boxes[name].site.box

    assert device_to(machine) == "shared0"
    assert reaches(machine)


def test_a_box_whose_cable_is_out_reaches_the_lan_through_the_other_one(lan: Rivals) -> None:
    machine = lan.lab.boxes["b"].site.box
    plug_in = lan.pull_lan("b")
    try:
        await_reach(machine)
        device = device_to(machine)
    finally:
        plug_in()

    assert device == "gatepost0"


def test_a_flapping_uplink_moves_the_lan_once(lan: Rivals) -> None:
    first = lan.primary()
    other = next(n for n in BOXES if n != first)
    host, log = lan.lab.topology.site("d").host, lan.lab.directory / "flaps.log"
    with pings(host, log) as read:
        time.sleep(1)
        began = wall_clock()
        for _ in range(4):
            plug_in = lan.cut_wan(first)
            time.sleep(4)
            plug_in()
            time.sleep(2)
        silence = longest_silence(read(), began)

    assert lan.primary() == other
    assert silence is not None
    assert silence < LIMIT


def test_another_address_in_the_lan_changes_nothing(lan: Rivals) -> None:
    """As a DHCP server gives it out when it has forgotten the old one."""
    primary = lan.primary()
    machine = lan.lab.boxes[primary].site.box
    old = f"10.77.0.{BOXES.index(primary) + 1}/24"
    machine.ip(f"address delete {old} dev shared0", "address add 10.77.0.77/24 dev shared0")
    try:
        await_reach(lan.lab.topology.site("d").host)
        assert lan.primary() == primary
    finally:
        machine.ip("address delete 10.77.0.77/24 dev shared0", f"address add {old} dev shared0")
    await_reach(lan.lab.topology.site("d").host)


def test_a_site_may_offer_what_holds_the_coordination_server(lan: Rivals) -> None:
    """Who accepts it still reaches the server by the internet, also after a new start."""
    lab = lan.lab
    thief, victim = lab.boxes["b"], lab.boxes["d"]
    networks = (*(str(n) for n in (thief.site.lan_v4, thief.site.lan_v6)), *SHARED)
    around = "198.51.100.0/24"  # of all uplinks of the lab
    offer = (*networks, around)
    thief.client.change_settings(UpRequest(advertise_routes=offer))
    lab.coordination.client.change_node(thief.name, NodeRequest(approved_routes=offer))
    try:
        victim.await_status(
            lambda s: any(around in p.routes for p in s.peers), "route around the server"
        )
        victim.daemon.signal("TERM")
        victim.daemon.start()
        victim.await_answer()
        victim.await_status(lambda s: s.state == "Running" and s.control_connected, "server")
        await_reach(victim.site.host)
    finally:
        thief.client.change_settings(UpRequest(advertise_routes=networks))
        lab.coordination.client.change_node(thief.name, NodeRequest(approved_routes=networks))
