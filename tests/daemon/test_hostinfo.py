"""What a node found out about its network reaches its peers, and no more than that."""

from __future__ import annotations

from itertools import product

import pytest

from gatepost.coordination.mapper import visible_hostinfo
from gatepost.daemon.hostinfo import Announcement, MachineFacts, make_hostinfo
from gatepost.model.netmap import NetworkFacts, PeerServices
from gatepost.model.peer_api import APP_CONNECTOR, NAMES, SERVICE
from gatepost.sessions.netmap_nodes import read_network, read_services
from gatepost.wire.hostinfo import Hostinfo, NetInfo, Service

MACHINE = MachineFacts(hostname="box", kernel="6.1", machine="x86_64")
KNOWN = (True, False, None)


@pytest.mark.parametrize("values", list(product(KNOWN, repeat=4)))
def test_peers_read_what_a_node_found(values: tuple[bool | None, ...]) -> None:
    udp, ipv6, varies, mapping = values
    network = NetworkFacts(udp=udp, ipv6=ipv6, varies=varies, mapping=mapping)
    told = make_hostinfo(MACHINE, Announcement(network=network, home_derp=900))

    assert read_network(visible_hostinfo(told).net_info) == network


def test_a_node_that_has_found_nothing_tells_nothing() -> None:
    assert make_hostinfo(MACHINE, Announcement()).net_info is None


def test_a_server_that_hides_networks_leaves_them_unknown() -> None:
    assert read_network(None) == NetworkFacts()


def test_peers_do_not_learn_latencies() -> None:
    found = NetInfo(working_udp=True, preferred_derp=900, derp_latency={"900-v4": 0.01})
    seen = visible_hostinfo(Hostinfo(net_info=found)).net_info

    assert seen == NetInfo(working_udp=True)


def test_peers_read_what_a_node_serves() -> None:
    facts = {SERVICE: "41053", NAMES: "true", APP_CONNECTOR: "true"}
    told = visible_hostinfo(make_hostinfo(MACHINE, Announcement(facts=facts)))
    silent = visible_hostinfo(make_hostinfo(MACHINE, Announcement()))

    assert read_services(told.services) == PeerServices(v4=41053, v6=41053, names=True)
    assert told.app_connector
    assert read_services(silent.services) == PeerServices()
    assert not silent.app_connector


def test_a_port_that_is_none_counts_as_nothing() -> None:
    services = (Service(proto="peerapi4", port=0), Service(proto="peerapi6", port=65536))

    assert read_services(services) == PeerServices()
