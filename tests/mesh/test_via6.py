"""Three sites, two of which have the same network: both are reached by IPv6, as the policy says."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from gatepost.model import owned
from gatepost.model.admin import NodeRequest
from gatepost.model.policy import PolicyRequest
from gatepost.model.status import PluginRequest
from gatepost.model.via6 import read_name, via_prefix
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine
from gatepost.testing.topology import Site

pytestmark = [pytest.mark.root, pytest.mark.mesh]

SAME = IPv4Network("192.168.1.0/24")
SITES = {"b": 7, "c": 8}
PORT, CLOSED = 8000, 8001
SHUT = {"TimeoutError", "OSError"}  # what `ask` says of what nobody carries
OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'
# Answers TCP with its name, UDP with its name and what came; without a checksum on port + 10.
SERVE = """
import socket, sys, threading
name, host, port = sys.argv[1].encode(), sys.argv[2], int(sys.argv[3])
def tcp():
    with socket.create_server((host, port)) as server:
        while True:
            connection, _ = server.accept()
            connection.sendall(name + bytes(200_000)); connection.close()
def udp(port, no_sum):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, 11, no_sum)  # SO_NO_CHECK
        server.bind((host, port))
        while True:
            text, sender = server.recvfrom(9999)
            server.sendto(name + text, sender)
threading.Thread(target=tcp).start()
threading.Thread(target=udp, args=(port, 0)).start()
threading.Thread(target=udp, args=(port + 10, 1)).start()
print("up", flush=True)
"""
ASK = """
import socket, sys
kind, host, port, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
try:
    if kind == "tcp":
        text, connection = b"", socket.create_connection((host, port), 3)
        while more := connection.recv(65536):
            text += more
    else:
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.settimeout(3); one.connect((host, port))
        for attempt in range(1 if size < 1232 else 2, 0, -1):
            one.send(bytes(size))
            try:
                text = one.recv(9999)
            except TimeoutError:
                if attempt == 1:
                    raise
    print(text[:1].decode(), len(text))
except OSError as error:
    print(type(error).__name__)
"""


def host_of(site: str) -> IPv6Address:
    """Return the address of the host 192.168.1.10 of a site, as the mesh knows it."""
    found = read_name(f"192-168-1-10-via-{SITES[site]}")
    assert found
    return found


def prefix_of(site: str) -> IPv6Network:
    return via_prefix(SITES[site], SAME)


def add_network(site: Site) -> None:
    site.box.ip(f"address add {SAME[1]}/24 dev lan0")
    site.host.ip(f"address add {SAME[10]}/24 dev eth0")
    command = ("/usr/bin/python3", "-c", SERVE, site.name, str(SAME[10]), str(PORT))
    server = site.host.start(*command, output=subprocess.PIPE)
    assert server.stdout
    assert server.stdout.readline() == "up\n"


def share(lab: Lab, box: Box) -> None:
    """Let a box offer its network and grant it."""
    site = box.site.name
    settings = {"site": SITES[site], "networks": [str(SAME)]}
    box.client.change_plugin("via6", PluginRequest(enabled=True, settings=settings))  # type: ignore[arg-type]  # a dict of less is a dict of more here
    prefix = str(prefix_of(site))
    node = wait_for(
        lambda: next(
            (
                n
                for n in lab.coordination.client.nodes()
                if n.name == box.name and prefix in n.announced_routes
            ),
            None,
        ),
        seconds=20,
        otherwise=lambda: f"{prefix} is not announced:\n{box.daemon.tail()}",
    )
    lab.coordination.client.change_node(
        str(node.id), NodeRequest(approved_routes=node.announced_routes)
    )


@pytest.fixture(scope="module")
def overlap(lab: Lab) -> Lab:
    for name in SITES:
        add_network(lab.topology.site(name))
        share(lab, lab.boxes[name])
    for name in SITES:
        await_answer(lab, name)
    return lab


def ping(machine: Machine, address: IPv6Address | IPv4Address, *options: str) -> bool:
    return machine.attempt("ping", "-c1", "-W1", *options, str(address)).returncode == 0


def ask(machine: Machine, kind: str, address: IPv6Address, port: int, size: int = 10) -> str:
    words = (kind, str(address), str(port), str(size))
    return machine.run("/usr/bin/python3", "-c", ASK, *words).strip()


def await_answer(lab: Lab, site: str) -> None:
    wait_for(
        lambda: True if ping(lab.boxes["a"].site.box, host_of(site)) else None,
        seconds=20,
        otherwise=lambda: f"{host_of(site)} does not answer\n{lab.log_tails()}",
    )


@pytest.mark.parametrize("site", SITES)
def test_each_of_two_equal_networks_is_reached(overlap: Lab, site: str) -> None:
    box = overlap.boxes["a"].site.box

    assert ask(box, "tcp", host_of(site), PORT) == f"{site} 200001"
    assert ask(box, "udp", host_of(site), PORT) == f"{site} 11"


def test_a_host_that_knows_nothing_of_the_mesh_reaches_them_too(overlap: Lab) -> None:
    host = overlap.boxes["a"].site.host

    assert ask(host, "tcp", host_of("b"), PORT) == "b 200001"
    assert ask(host, "udp", host_of("c"), PORT) == "c 11"


@pytest.mark.parametrize("size", [0, 1231, 1232, 1233, 3000, 8000])
def test_datagrams_of_every_size_go_and_come_back(overlap: Lab, size: int) -> None:
    """The host answers with one octet more; the first above 1232 tells it the path's MTU."""
    box = overlap.boxes["a"].site.box

    assert ask(box, "udp", host_of("b"), PORT, size) == f"b {size + 1}"


def test_a_datagram_without_a_checksum_gets_one(overlap: Lab) -> None:
    box = overlap.boxes["a"].site.box

    assert ask(box, "udp", host_of("b"), PORT + 10, 1001) == "b 1002"


def test_a_closed_port_is_refused_and_not_waited_for(overlap: Lab) -> None:
    box = overlap.boxes["a"].site.box

    assert ask(box, "udp", host_of("b"), CLOSED) == "ConnectionRefusedError"
    assert ask(box, "tcp", host_of("b"), CLOSED) == "ConnectionRefusedError"


def test_an_error_of_the_box_itself_comes_back(overlap: Lab) -> None:
    result = overlap.boxes["a"].site.box.attempt("ping", "-c1", "-W2", "-t1", str(host_of("b")))

    assert "Time exceeded" in result.stdout, result.stdout


def test_the_box_itself_is_reached_at_its_address_there(overlap: Lab) -> None:
    assert ping(overlap.boxes["a"].site.box, prefix_of("b")[1])


@pytest.mark.parametrize(
    "last",
    [
        "0.0.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "100.64.0.2",
        "192.168.1.255",
        "192.168.2.2",
        "240.64.0.1",
    ],
)
def test_what_is_never_behind_a_box_is_not_reached_by_a_peer_that_tries(
    overlap: Lab, last: str
) -> None:
    """The peer's own WireGuard is told to send everything of the site there."""
    machine = overlap.boxes["a"].site.box
    widen(overlap, "b")

    target = via_prefix(SITES["b"], IPv4Network(last))[0]
    assert not ping(machine, target)
    assert ping(machine, host_of("b"))


def widen(lab: Lab, site: str) -> None:
    whole = via_prefix(SITES[site], IPv4Network("0.0.0.0/0"))
    allow(lab.boxes["a"], lab.boxes[site], str(whole))


WATCH = """
table inet watch {{ chain seen {{ type filter hook forward priority -300;
ip saddr {alias} counter comment "forged"
ip saddr {own} counter comment "own"
}}
}}"""
FORGE = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind((sys.argv[1], 0))
    for _ in range(5): one.sendto(b"x", (sys.argv[2], 9))
"""


def test_a_peer_that_may_send_from_anywhere_gets_through_as_no_other_peers_alias(
    overlap: Lab,
) -> None:
    """As an exit node may: here each WireGuard is told to take the packets of the other."""
    thief, victim = overlap.boxes["a"], overlap.boxes["b"]
    node = thief.client.status().node
    assert node
    own = next(a.split("/")[0] for a in node.addresses if ":" not in a)
    alias, host = str(owned.ALIAS_NETWORK[9999]), str(SAME[10])

    def send() -> bool | None:
        allow(thief, victim, f"{host}/32")  # each time, as the daemons put that right again
        allow(victim, thief, str(owned.ALIAS_NETWORK))
        for source in (alias, own):
            thief.site.box.run("/usr/bin/python3", "-c", FORGE, source, host)
        return counted(victim, "own") > 0 or None

    victim.site.box.nft(WATCH.format(alias=alias, own=own))
    thief.site.box.ip(
        f"address add {alias}/32 dev lo",
        f"route add {host}/32 dev {owned.DEVICE} table {owned.ROUTE_TABLE}",
    )
    try:
        wait_for(send, seconds=10, otherwise=lambda: "nothing came, so this shows nothing")

        assert counted(victim, "forged") == 0
    finally:
        thief.site.box.ip(
            f"address delete {alias}/32 dev lo",
            f"route delete {host}/32 dev {owned.DEVICE} table {owned.ROUTE_TABLE}",
        )
        victim.site.box.run("nft", "delete", "table", "inet", "watch")


def allow(box: Box, peer: Box, network: str) -> None:
    """Let a box's WireGuard exchange packets of one more network with a peer."""
    machine = box.site.box
    key = peer.site.box.run("wg", "show", owned.DEVICE, "public-key").strip()
    allowed = machine.run("wg", "show", owned.DEVICE, "allowed-ips").splitlines()
    mine = next(line for line in allowed if line.startswith(key)).split()[1:]
    machine.run("wg", "set", owned.DEVICE, "peer", key, "allowed-ips", ",".join([*mine, network]))


def counted(box: Box, comment: str) -> int:
    rules = box.site.box.run("nft", "list", "chain", "inet", "watch", "seen").splitlines()
    (line,) = [rule for rule in rules if f'"{comment}"' in rule]
    return int(line.split("packets ")[1].split()[0])


def test_the_site_opens_nothing_towards_a_peer(overlap: Lab) -> None:
    host = overlap.topology.site("b").host
    node = overlap.boxes["a"].client.status().node
    assert node
    four = IPv4Address(node.addresses[0].split("/")[0])
    move = int(owned.ALIAS_NETWORK[0]) - int(IPv4Address("100.64.0.0"))
    alias = IPv4Address(int(four) + move)
    host.ip(f"route add {alias}/32 via {SAME[1]}")

    assert not ping(host, alias)


def test_only_a_peer_with_a_grant_gets_in_and_only_where_it_was_granted(overlap: Lab) -> None:
    node = overlap.boxes["a"].client.status().node
    assert node
    mine = next(a.split("/")[0] for a in node.addresses if ":" in a)
    rule = {"action": "accept", "src": [mine], "dst": [f"{prefix_of('b')}:{PORT}"]}
    overlap.coordination.client.set_policy(PolicyRequest(text=json.dumps({"acls": [rule]})))
    granted, other = overlap.boxes["a"].site.box, overlap.boxes["c"].site.box
    try:
        wait_for(
            lambda: None if ask(granted, "udp", host_of("b"), PORT + 10) == "b 11" else True,
            seconds=10,
            otherwise=lambda: "what was not granted goes on",
        )
        assert ask(granted, "udp", host_of("b"), PORT) == "b 11"
        # Who is not told the way any more hears so at once, and the internet is none.
        assert ask(granted, "udp", host_of("c"), PORT) in SHUT
        assert ask(other, "udp", host_of("b"), PORT) in SHUT
    finally:
        overlap.coordination.client.set_policy(PolicyRequest(text=OPEN))
    await_answer(overlap, "c")


def test_a_daemon_started_again_translates_again(overlap: Lab) -> None:
    box = overlap.boxes["b"]
    box.daemon.signal("TERM")
    box.site.box.attempt("ip", "link", "delete", owned.DEVICE)
    box.daemon.start()
    box.await_answer()

    await_answer(overlap, "b")
    assert ask(overlap.boxes["a"].site.box, "tcp", host_of("b"), PORT) == "b 200001"


def test_a_network_that_is_not_approved_any_more_is_closed(overlap: Lab) -> None:
    box = overlap.boxes["c"]
    nodes = overlap.coordination.client.nodes()
    node = next(n for n in nodes if n.name == box.name)
    kept = tuple(r for r in node.approved_routes if r != str(prefix_of("c")))
    overlap.coordination.client.change_node(str(node.id), NodeRequest(approved_routes=kept))
    wait_for(
        lambda: None if ping(overlap.boxes["a"].site.box, host_of("c")) else True,
        seconds=10,
        otherwise=lambda: "still answers",
    )

    programs = box.site.box.run("tc", "filter", "show", "dev", owned.DEVICE, "ingress")
    assert "via6" not in programs
