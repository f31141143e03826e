"""Every router of the lab behaves as its RFC 4787 name says, measured from both of its sides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from gatepost.testing.nat import BEHAVIOUR, Behaviour, Filtering, Mapping, Nat, router_rules
from gatepost.testing.netns import Machine, machines
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Topology, build

pytestmark = pytest.mark.root

SECOND = "203.0.113.2"
PROBE = (sys.executable, "-m", "gatepost.testing.nat_probe")
BEHIND_NAT = [nat for nat in Nat if BEHAVIOUR[nat] is not None]


@pytest.fixture(scope="module")
def ground() -> Iterator[Topology]:
    with machines() as owner:
        made = build(owner, {f"n{number}": nat for number, nat in enumerate(Nat)})
        made.internet.ip(f"address add {SECOND}/32 dev lo")
        reflector = made.internet.start(
            *PROBE, "reflector", str(INTERNET_V4), SECOND, output=subprocess.PIPE
        )
        assert reflector.stdout
        assert reflector.stdout.readline() == "ready\n"
        yield made


def box(ground: Topology, nat: Nat) -> Machine:
    return next(site.box for site in ground.sites if site.nat is nat)


def measure(machine: Machine) -> Behaviour | None:
    mapping, filtering = machine.run(*PROBE, "ask", str(INTERNET_V4), SECOND).split("\n")[:2]
    return Behaviour(Mapping(mapping), Filtering(filtering)) if mapping and filtering else None


@pytest.mark.parametrize("nat", BEHIND_NAT)
def test_a_nat_maps_and_filters_as_it_is_called(ground: Topology, nat: Nat) -> None:
    assert measure(box(ground, nat)) == BEHAVIOUR[nat]


def test_without_a_router_nothing_is_mapped_and_nothing_filtered(ground: Topology) -> None:
    assert measure(box(ground, Nat.NONE)) == Behaviour(
        Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT
    )


def test_a_network_without_udp_carries_ping_and_no_datagram(ground: Topology) -> None:
    machine = box(ground, Nat.UDP_BLOCKED)

    assert measure(machine) is None
    assert machine.attempt("ping", "-c1", "-W2", str(INTERNET_V4)).returncode == 0


def test_a_box_with_ipv6_only_reaches_no_ipv4(ground: Topology) -> None:
    machine = box(ground, Nat.IPV6_ONLY)

    assert machine.attempt("ping", "-c1", "-W2", str(INTERNET_V6)).returncode == 0
    assert machine.attempt("ping", "-c1", "-W1", str(INTERNET_V4)).returncode != 0


@pytest.mark.parametrize("nat", BEHIND_NAT)
def test_a_router_that_is_loaded_again_is_the_same_kind_with_other_ports(
    ground: Topology, nat: Nat
) -> None:
    site = next(site for site in ground.sites if site.nat is nat)
    for router, behind in site.routers:
        router.nft(router_rules(nat, behind, seed=99))
        router.run("conntrack", "-F")

    assert measure(site.box) == BEHAVIOUR[nat]
