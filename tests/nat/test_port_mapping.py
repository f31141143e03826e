"""Boxes behind NATs that nothing passes, one of which opens a port when it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatepost.model.owned import PEER_RELAY_PORT, WIREGUARD_PORT
from gatepost.model.status import NetcheckDocument, PluginRequest, UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import nat_lab
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(patient(300))]
MAPPED = "45.0.0.2:41641"  # what miniupnpd gives the second site's box


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with nat_lab({"mapped": Nat.PORT_MAPPING, "hard": Nat.SYMMETRIC}) as running:
        yield running


def netcheck(box: Box) -> NetcheckDocument:
    return box.client.netcheck()


def endpoint_of(box: Box, peer: str) -> str:
    """Return the endpoint of a direct path, "" while there is none."""
    return next((p.endpoint for p in box.client.status().peers if p.name.startswith(peer)), "")


def mesh_address(box: Box) -> str:
    node = box.client.status(peers=False).node
    assert node is not None
    return node.addresses[0]


def has_port(box: Box, port: int = WIREGUARD_PORT) -> bool:
    """Say whether the router sends the port on to the box."""
    router = box.site.router
    assert router is not None
    return str(port) in router.run("nft", "list", "chain", "inet", "miniupnpd", "prerouting")


def netcheck_when_up(box: Box) -> NetcheckDocument:
    box.await_status(lambda s: s.state == "Running" and s.derp.connected, "connection")
    return netcheck(box)


def set_node(box: Box, lines: str) -> None:
    """Write lines into the table [node] and let the daemon read it."""
    path = box.directory / "settings.toml"
    text = path.read_text("utf-8")
    assert "[node]\n" in text
    path.write_text(text.replace("[node]\n", f"[node]\n{lines}\n"), "utf-8")
    box.site.box.run("kill", "-HUP", str(box.daemon.process_id))


def test_a_mapped_port_makes_two_hard_nats_reach_each_other_directly(lab: Lab) -> None:
    mapped, hard = lab.boxes["mapped"], lab.boxes["hard"]
    hard.site.box.attempt("ping", "-c", "3", "-W", "2", mesh_address(mapped))
    wait_for(
        lambda: endpoint_of(hard, mapped.name) or None,
        seconds=patient(15),
        otherwise=hard.daemon.tail,
    )

    # The router sends the port on whichever of its own addresses was asked for.
    assert endpoint_of(hard, mapped.name) in {MAPPED, f"{mapped.site.public_v4}:41641"}
    assert "0% packet loss" in hard.site.box.run("ping", "-c", "3", "-W", "2", mesh_address(mapped))


def test_netcheck_says_what_the_router_speaks_and_what_it_mapped(lab: Lab) -> None:
    report = netcheck(lab.boxes["mapped"])

    assert report.udp
    assert report.ipv4.startswith("198.51.100.")
    assert report.port_mapping is not None
    assert report.port_mapping.mapped == (MAPPED,)
    assert (report.port_mapping.upnp, report.port_mapping.nat_pmp, report.port_mapping.pcp) == (
        True,
        True,
        True,
    )
    assert report.captive_portal is False
    assert report.hairpin is False
    assert [r.latency is not None for r in report.regions] == [True]


def test_netcheck_says_that_a_router_speaks_nothing(lab: Lab) -> None:
    report = netcheck(lab.boxes["hard"])

    assert report.port_mapping is not None
    assert report.port_mapping.mapped == ()
    assert not report.port_mapping.upnp


def test_where_udp_is_blocked_latencies_are_those_of_https(lab: Lab) -> None:
    lab.topology.block_udp()
    try:
        report = netcheck(lab.boxes["hard"])
    finally:
        lab.topology.allow_udp()

    assert not report.udp
    assert report.regions[0].latency_https is not None
    assert report.regions[0].latency == report.regions[0].latency_https


def test_a_relay_behind_the_router_gets_a_port_of_its_own_and_gives_it_back(lab: Lab) -> None:
    mapped = lab.boxes["mapped"]
    address = f"{MAPPED.partition(':')[0]}:{PEER_RELAY_PORT}"

    def is_told() -> bool:
        relay = mapped.client.status().relay_server
        return relay is not None and address in relay.addresses

    mapped.client.change_plugin("peer-relay", PluginRequest(enabled=True))
    wait_for(lambda: is_told() or None, seconds=patient(15), otherwise=mapped.daemon.tail)
    assert has_port(mapped, PEER_RELAY_PORT)
    mapped.client.change_plugin("peer-relay", PluginRequest(enabled=False))
    wait_for(
        lambda: not has_port(mapped, PEER_RELAY_PORT) or None,
        seconds=patient(10),
        otherwise=mapped.daemon.tail,
    )

    assert has_port(mapped)


def test_a_mesh_that_is_down_gives_the_port_back_and_takes_it_again(lab: Lab) -> None:
    mapped = lab.boxes["mapped"]
    mapped.client.down()
    wait_for(
        lambda: not has_port(mapped) or None, seconds=patient(10), otherwise=mapped.daemon.tail
    )
    mapped.client.up(UpRequest())
    wait_for(lambda: has_port(mapped) or None, seconds=patient(10), otherwise=mapped.daemon.tail)

    assert netcheck_when_up(mapped).port_mapping is not None


def test_the_setting_gives_the_port_back_and_static_endpoints_are_told(
    lab: Lab,
) -> None:
    mapped = lab.boxes["mapped"]
    assert has_port(mapped)
    set_node(mapped, 'port-mapping = false\nstatic-endpoints = ["192.0.2.7:5000"]')
    wait_for(
        lambda: not has_port(mapped) or None,
        seconds=patient(10),
        otherwise=mapped.daemon.tail,
    )

    assert netcheck(mapped).port_mapping is None
