"""Only what is advertised and approved is carried, with the sender's address or the box's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from gatepost.model import owned
from gatepost.model.admin import NodeRequest
from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import await_pairs, ping_pairs
from gatepost.testing.topology import Site

pytestmark = [pytest.mark.root, pytest.mark.mesh]

PORT = "8000"
# Answers one TCP connection with the address that it came from.
WHO = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2])), family=int(sys.argv[3])) as server:
    print("up", flush=True)
    connection, source = server.accept()
    connection.sendall(source[0].encode()); connection.close()
"""
ASK = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(99).decode())
"""


def seen_source(source: Site, destination: Site, address: str) -> str:
    """Return the address that the destination's host sees when the source's host connects."""
    family = int({4: 2, 6: 10}[ip_address(address).version])  # AF_INET, AF_INET6
    server = destination.host.start(
        "/usr/bin/python3", "-c", WHO, address, PORT, str(family), output=subprocess.PIPE
    )
    assert server.stdout
    assert server.stdout.readline() == "up\n"
    seen = source.host.run("/usr/bin/python3", "-c", ASK, address, PORT).strip()
    server.wait(timeout=5)
    return seen


def node_id(lab: Lab, box: Box) -> str:
    return next(str(n.id) for n in lab.coordination.client.nodes() if n.name == box.name)


@pytest.fixture
def masquerading(lab: Lab) -> Iterator[Lab]:
    box = lab.boxes["c"]
    box.client.change_settings(UpRequest(snat_subnet_routes=True))
    await_masqueraded(box, (str(box.site.lan_v4),))
    yield lab
    box.client.change_settings(UpRequest(snat_subnet_routes=False))
    await_masqueraded(box, ())


def await_masqueraded(box: Box, networks: tuple[str, ...]) -> None:
    """Wait until the packet filter masquerades towards exactly these IPv4 networks."""

    def look() -> bool | None:
        table = ("nft", "list", "set", "inet", owned.NFT_TABLE, "masquerade4")
        found = re.findall(r"[\d.]+/\d+", box.site.box.attempt(*table).stdout)
        return True if tuple(found) == networks else None

    wait_for(look, seconds=5, otherwise=lambda: f"not {networks}:\n{box.daemon.tail()}")


def test_without_masquerade_a_host_sees_who_is_there(lab: Lab) -> None:
    one, other = lab.sites[1], lab.sites[2]

    assert seen_source(one, other, str(other.host_v4)) == str(one.host_v4)
    assert seen_source(one, other, str(other.host_v6)) == str(one.host_v6)


def test_with_masquerade_a_host_sees_its_own_box(masquerading: Lab) -> None:
    one, other = masquerading.sites[1], masquerading.sites[2]

    assert seen_source(one, other, str(other.host_v4)) == str(other.lan_v4[1])
    assert seen_source(one, other, str(other.host_v6)) == str(other.lan_v6[1])


def test_a_route_that_is_not_approved_any_more_is_closed(lab: Lab) -> None:
    box = lab.boxes["c"]
    mine = node_id(lab, box)
    lab.coordination.client.change_node(mine, NodeRequest(approved_routes=(str(box.site.lan_v4),)))
    try:
        wait_for(
            lambda: True if working(lab) == {4} else None,
            seconds=10,
            otherwise=lambda: f"these IP versions still work: {working(lab)}",
        )
    finally:
        lab.approve(box)
    lab.await_mesh()
    await_pairs(lab.sites)


def working(lab: Lab) -> set[int]:
    """Return the IP versions in which host b reaches host c."""
    pairs = ping_pairs(lab.sites[1:], count=1)
    return {p.version for p in pairs if p.works and p.source == "host-b"}


def test_the_filter_refuses_what_a_peer_was_not_given(lab: Lab) -> None:
    """A peer that ignores the netmap gets nowhere: not beside the LAN, and not to loopback."""
    thief, victim = lab.boxes["b"], lab.boxes["c"]
    beside = "10.99.0.1"
    victim.site.box.ip(
        "link add beside0 type veth peer name beside1",
        f"address add {beside}/24 dev beside0",
        "link set beside0 up",
        "link set beside1 up",
    )
    thief.daemon.signal("KILL")  # it would put things right
    try:
        key = public_key(victim)
        machine = thief.site.box
        allowed = machine.run("wg", "show", owned.DEVICE, "allowed-ips")
        mine = next(line for line in allowed.splitlines() if line.startswith(key))
        wider = ",".join([*mine.split()[1:], "10.99.0.0/24", "127.0.0.0/8"])
        machine.run("wg", "set", owned.DEVICE, "peer", key, "allowed-ips", wider)
        machine.ip(f"route add 10.99.0.0/24 dev {owned.DEVICE} table {owned.ROUTE_TABLE}")
        node = victim.client.status().node

        assert node
        assert machine.attempt("ping", "-c1", "-W2", node.addresses[0]).returncode == 0
        assert machine.attempt("ping", "-c2", "-W1", "-i0.2", beside).returncode != 0
    finally:
        thief.daemon.start()
        thief.await_answer()
        victim.site.box.ip("link delete beside0")
    await_pairs(lab.sites)


def public_key(box: Box) -> str:
    return box.site.box.run("wg", "show", owned.DEVICE, "public-key").strip()
