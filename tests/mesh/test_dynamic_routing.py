"""A box trades routes with its LAN's router, which runs FRR as a company's router would.

host-a - box-a ~~~ mesh ~~~ box-b - switch - gate-b (FRR) - deep-b
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gatepost.model.routing import DIRECTORY
from gatepost.testing.lab_boxes import Box, Program, wait_for
from gatepost.testing.lab_lan import Office, make_office
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import Machine, patient
from gatepost.testing.scene_lab import await_answer, turn_on
from gatepost.testing.topology import Nat

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(180)]

FRR = "/usr/lib/frr"
SECONDS = 30.0  # until routers have talked about a change
PASSWORD = r"""a!#b"$;\'%"""
COMMON = "no zebra nexthop kernel enable\n"
ROUTER_BGP = """\
frr defaults traditional
router bgp 65002
 bgp router-id 10.255.0.1
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor {box} remote-as 65001
 neighbor {box} password {password}
 address-family ipv4 unicast
  network {deep}
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
        office = make_office(lab, lab.sites[1])
        config = ROUTER_BGP.format(
            box=lab.sites[1].lan_v4[1], password=PASSWORD, deep=office.deep_v4
        )
        run_router(office.gate, bgpd=config)
        start(lab)
        lab.join(lab.boxes)
        lab.await_mesh()
        yield lab, office


@pytest.fixture
def frr(lab: tuple[Lab, Office]) -> Iterator[Program]:
    box = lab[0].boxes["b"]
    program = Program(
        box.site.box,
        "gatepost-frr",
        ("--directory", str(DIRECTORY)),
        box.directory / "gatepost-frr.log",
    )
    program.start()
    yield program
    program.signal("TERM")


def run_router(gate: Machine, **configs: str) -> None:
    """Start FRR's programs, each with its configuration, as the router's own."""
    gate.run("mkdir", "-p", "/run/frr")
    for program, text in {"zebra": COMMON, **configs}.items():
        gate.run("tee", f"/run/frr/{program}.conf", stdin=text)
        gate.run("chown", "-R", "frr:frr", "/run/frr")
        gate.run(f"{FRR}/{program}", "-d", "-f", f"/run/frr/{program}.conf", "-P", "0")


def router(gate: Machine, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    return gate.run("vtysh", "--vty_socket", "/run/frr", *words)


def await_route(gate: Machine, network: str, *, there: bool, table: str = "main") -> None:
    def look() -> bool | None:
        shown = gate.run("ip", "route", "show", "table", table, network).strip()
        return True if bool(shown) == there else None

    text = f"{gate.name}: {network} {'missing' if there else 'still there'}"
    wait_for(look, seconds=patient(SECONDS), otherwise=lambda: text)


def await_notice(box: Box, words: str, *, there: bool = True) -> None:
    box.await_status(
        lambda s: any(words in n.text for n in s.notices) == there, words, patient(SECONDS)
    )


def test_a_routers_networks_are_reached_and_it_learns_the_way_back(
    lab: tuple[Lab, Office], frr: Program
) -> None:
    running, office = lab
    a, b = running.sites
    box = running.boxes["b"]
    secret = running.directory / "password"
    secret.write_text(PASSWORD + "\n")
    turn_on(
        box, "dynamic-routing", as_number=65001, learn=["10.20.0.0/14"],
        neighbours=[f"{office.gate_v4} as 65002 password-file {secret}"],
    )  # fmt: skip
    running.approve(box, str(office.deep_v4))
    await_route(office.gate, str(a.lan_v4), there=True)
    await_answer(a.host, str(office.deep_host), (box,))
    await_answer(office.deep, str(a.host_v4), (box,))
