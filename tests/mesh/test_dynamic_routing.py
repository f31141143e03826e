"""A box trades routes with its LAN's router, which runs FRR as a company's router would.

host-a - box-a ~~~ mesh ~~~ box-b - switch - gate-b (FRR) - deep-b
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gatepost.model.owned import ROUTE_PROTOCOL
from gatepost.model.routing import DIRECTORY
from gatepost.model.status import PluginRequest
from gatepost.testing.lab_boxes import Box, Program, wait_for
from gatepost.testing.lab_lan import Office, make_office
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import await_answer, turn_on
from gatepost.testing.topology import Nat

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(180)]

FRR = "/usr/lib/frr"
LEARNT = ["10.20.0.0/14", "fd0b::/16"]
GATE_V6, DEEP_V6 = "fd0a:2::fe", "fd0b:22::/64"
SECONDS = 30.0  # until routers have talked about a change
AGREED = r"""a!#b"$;\'%"""
COMMON = "no zebra nexthop kernel enable\n"
ROUTER_BGP = """\
frr defaults traditional
router bgp 65002
 bgp router-id 10.255.0.1
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor {box} remote-as 65001
 neighbor {box} password {password}
 neighbor {box_v6} remote-as 65001
 address-family ipv4 unicast
  network {deep}
 exit-address-family
 address-family ipv6 unicast
  network {deep_v6}
  neighbor {box_v6} activate
 exit-address-family
"""
ROUTER_OSPF = """\
interface lan0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf area 0
interface deep0
 ip ospf area 0
 ip ospf passive
router ospf
 ospf router-id 10.255.0.1
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Lab, Office]]:
    with ground({"a": Nat.NONE, "b": Nat.NONE}) as lab:
        site = lab.sites[1]
        office = make_office(lab, site)
        office.gate.ip(
            f"address add {GATE_V6}/64 dev lan0", f"address add {DEEP_V6[:-3]}1/64 dev deep0"
        )
        bgp = ROUTER_BGP.format(
            box=site.lan_v4[1], box_v6=site.lan_v6[1], password=AGREED, deep=office.deep_v4,
            deep_v6=DEEP_V6,
        )  # fmt: skip
        run_router(office.gate, bgpd=bgp, ospfd=ROUTER_OSPF)
        start(lab)
        lab.join(lab.boxes)
        lab.await_mesh()
        driver_of(lab).start()
        yield lab, office


def driver_of(lab: Lab) -> Program:
    box = lab.boxes["b"]
    log = box.directory / "gatepost-frr.log"
    return Program(box.site.box, "gatepost-frr", ("--directory", str(DIRECTORY)), log)


@pytest.fixture
def bgp(lab: tuple[Lab, Office]) -> Box:
    """Let box b trade routes with the router, and let the server agree."""
    running, office = lab
    box = running.boxes["b"]
    secret = running.directory / "password"
    secret.write_text(AGREED + "\n")
    turn_on(
        box, "dynamic-routing", as_number=65001, learn=LEARNT,
        neighbours=[
            f"{office.gate_v4} as 65002 password-file {secret}", f"{GATE_V6} as 65002",
        ],
    )  # fmt: skip
    running.approve(box, str(office.deep_v4), DEEP_V6)
    return box


def run_router(gate: Machine, **configs: str) -> None:
    """Start FRR's programs, each with its configuration, as the router's own."""
    gate.run("mkdir", "-p", "/run/frr")
    for program, text in {"zebra": COMMON, **configs}.items():
        gate.run("tee", f"/run/frr/{program}.conf", stdin=text)
        gate.run("chown", "-R", "frr:frr", "/run/frr")
        gate.run(f"{FRR}/{program}", "-d", "-f", f"/run/frr/{program}.conf", "-P", "0")


def tell_router(gate: Machine, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    return gate.run("vtysh", "--vty_socket", "/run/frr", *words)


def await_route(gate: Machine, network: object, *, there: bool, by: str = "bgp") -> None:
    def look() -> bool | None:
        family = "-6" if ":" in str(network) else "-4"
        shown = gate.run("ip", family, "route", "show", str(network), "proto", by).strip()
        return True if bool(shown) == there else None

    text = f"{gate.name}: {network} {'missing' if there else 'still there'}"
    wait_for(look, seconds=SECONDS, otherwise=lambda: text)


def await_notice(box: Box, words: str, *, there: bool = True) -> None:
    box.await_status(
        lambda s: any(words in n.text for n in s.notices) == there, f"notice {words!r}", SECONDS
    )


def await_offer(lab: Lab, network: object, *, there: bool) -> None:
    """Wait until the other box has a route to it, or none."""

    def look() -> bool | None:
        known = {r for p in lab.boxes["a"].client.status().peers for r in p.routes}
        return True if (str(network) in known) == there else None

    text = f"{network} is {'not ' if there else 'still '}offered"
    wait_for(look, seconds=SECONDS, otherwise=lambda: f"{text}\n{lab.boxes['b'].daemon.tail()}")


def uptime(office: Office, box: Box) -> int:
    """Return the milliseconds for which the router's session has been up."""
    shown = json.loads(tell_router(office.gate, "show bgp summary json"))
    return int(shown["ipv4Unicast"]["peers"][str(box.site.lan_v4[1])]["peerUptimeMsec"])


def test_a_routers_networks_are_reached_and_it_learns_the_way_back(
    lab: tuple[Lab, Office], bgp: Box
) -> None:
    running, office = lab
    a, _ = running.sites
    await_route(office.gate, a.lan_v4, there=True)
    await_answer(a.host, str(office.deep_host), (bgp,))
    await_answer(office.deep, str(a.host_v4), (bgp,))
    await_notice(bgp, f"BGP with {office.gate_v4}: Established")


def test_ipv6_goes_the_same_way(lab: tuple[Lab, Office], bgp: Box) -> None:
    running, office = lab
    a, _ = running.sites
    await_route(office.gate, a.lan_v6, there=True)
    await_route(bgp.site.box, DEEP_V6, there=True)
    await_offer(running, DEEP_V6, there=True)


def test_what_the_router_takes_back_leaves_the_mesh_and_comes_again(
    lab: tuple[Lab, Office], bgp: Box
) -> None:
    running, office = lab
    await_offer(running, office.deep_v4, there=True)
    place = ("configure terminal", "router bgp 65002", "address-family ipv4 unicast")

    tell_router(office.gate, *place, f"no network {office.deep_v4}")
    await_offer(running, office.deep_v4, there=False)
    assert not bgp.site.box.run("ip", "route", "show", str(office.deep_v4)).strip()
    tell_router(office.gate, *place, f"network {office.deep_v4}")
    await_offer(running, office.deep_v4, there=True)


def test_another_filter_changes_routes_and_drops_no_session(
    lab: tuple[Lab, Office], bgp: Box
) -> None:
    running, office = lab
    a, _ = running.sites
    await_offer(running, office.deep_v4, there=True)
    began = uptime(office, bgp)

    turn_on(bgp, "dynamic-routing", learn=["10.128.0.0/9"])
    await_offer(running, office.deep_v4, there=False)
    turn_on(bgp, "dynamic-routing", learn=LEARNT, announce=False)
    await_offer(running, office.deep_v4, there=True)
    await_route(office.gate, a.lan_v4, there=False)
    turn_on(bgp, "dynamic-routing", announce=True)
    await_route(office.gate, a.lan_v4, there=True)
    assert uptime(office, bgp) > began
    assert "refused" not in driver_of(running).log.read_text()


def test_a_new_start_of_the_node_takes_nothing_back(lab: tuple[Lab, Office], bgp: Box) -> None:
    running, office = lab
    a, _ = running.sites
    await_route(office.gate, a.lan_v4, there=True)
    await_offer(running, office.deep_v4, there=True)
    began = uptime(office, bgp)
    number = "show bgp neighbors json"
    before = heard(tell_router(office.gate, number))

    bgp.daemon.signal("TERM")
    bgp.daemon.start()
    bgp.await_answer()
    bgp.await_status(lambda s: s.state == "Running", "login", SECONDS)
    await_notice(bgp, f"BGP with {office.gate_v4}: Established")
    assert uptime(office, bgp) > began
    assert heard(tell_router(office.gate, number)) == before


def heard(text: str) -> int:
    """Return how many times the router was told of routes, or of routes taken back."""
    return sum(p["messageStats"]["updatesRecv"] for p in json.loads(text).values())


@pytest.mark.parametrize("program", ["bgpd", "zebra"])
def test_a_killed_program_of_frr_is_told_and_started_again(
    lab: tuple[Lab, Office], bgp: Box, program: str
) -> None:
    running, office = lab
    await_offer(running, office.deep_v4, there=True)
    (killed,) = bgp.site.box.processes(program)

    bgp.site.box.run("kill", "-KILL", str(killed))
    await_notice(bgp, f"{program} ended with -9")
    await_offer(running, office.deep_v4, there=True)  # the mesh is not bothered
    await_notice(bgp, f"{program} ended with -9", there=False)
    await_notice(bgp, f"BGP with {office.gate_v4}: Established")
    await_answer(running.sites[0].host, str(office.deep_host), (bgp,))


def test_a_driver_that_was_killed_finds_its_programs_again(
    lab: tuple[Lab, Office], bgp: Box
) -> None:
    running, office = lab
    driver = driver_of(running)
    (number,) = bgp.site.box.processes("gatepost-frr")

    bgp.site.box.run("kill", "-KILL", str(number))
    driver.start()
    await_route(office.gate, running.sites[0].lan_v4, there=True)
    assert len(bgp.site.box.processes("zebra")) == 1


def test_a_router_that_falls_silent_is_told(lab: tuple[Lab, Office], bgp: Box) -> None:
    _, office = lab
    await_notice(bgp, f"BGP with {office.gate_v4}: Established")

    tell_router(
        office.gate, "configure terminal", "router bgp 65002",
        f"neighbor {bgp.site.lan_v4[1]} shutdown",
    )  # fmt: skip
    await_notice(bgp, f"BGP with {office.gate_v4} is down")
    tell_router(
        office.gate, "configure terminal", "router bgp 65002",
        f"no neighbor {bgp.site.lan_v4[1]} shutdown",
    )  # fmt: skip
    await_notice(bgp, f"BGP with {office.gate_v4}: Established")


def test_ospf_does_the_same_and_switched_off_leaves_nothing(
    lab: tuple[Lab, Office],
) -> None:
    running, office = lab
    a, b = running.sites
    box = running.boxes["b"]
    turn_on(
        box, "dynamic-routing", as_number=0, neighbours=[], learn=LEARNT, ospf_links=["lan0"],
        ospf_hello=1, announce=True,
    )  # fmt: skip
    running.approve(box, str(office.deep_v4))

    await_route(office.gate, a.lan_v4, there=True, by="ospf")
    await_route(b.box, office.deep_v4, there=True, by="ospf")
    await_answer(a.host, str(office.deep_host), (box,))
    await_answer(office.deep, str(a.host_v4), (box,))
    await_notice(box, f"OSPF with {office.gate_v4}: Full")
    turn_on(box, "dynamic-routing", ospf_area="51", ospf_hello=2)
    await_route(office.gate, a.lan_v4, there=False, by="ospf")
    turn_on(box, "dynamic-routing", ospf_area="0", ospf_hello=1)
    await_route(office.gate, a.lan_v4, there=True, by="ospf")
    assert "refused" not in driver_of(running).log.read_text()
    box.client.change_plugin("dynamic-routing", PluginRequest(enabled=False))
    await_route(office.gate, a.lan_v4, there=False, by="ospf")
    await_route(b.box, office.deep_v4, there=False, by="ospf")
    await_route(b.box, a.lan_v4, there=False, by=str(ROUTE_PROTOCOL))
    wait_for(
        lambda: True if not b.box.processes("zebra") else None,
        seconds=SECONDS,
        otherwise=lambda: "zebra runs on",
    )
    b.box.run("sh", "-c", "until ! ls /run/frr/gatepost/*.conf; do sleep 0.1; done")
