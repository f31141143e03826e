"""Two boxes that cannot reach each other directly still talk, through the relay of the server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from gatepost.model.status import Status
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import await_pairs, ping_pairs, transfer
from gatepost.testing.netns import Machine, patient
from gatepost.testing.topology import Site

pytestmark = [pytest.mark.root, pytest.mark.mesh]

SWITCH = 15.0  # seconds that a change of path may take, worst case of silent loss


@pytest.fixture
def no_udp(lab: Lab) -> Iterator[None]:
    lab.topology.block_udp()
    yield
    lab.topology.allow_udp()


def uses(status: Status, far: str, path: str) -> bool:
    return any(peer.path == path for peer in status.peers if peer.name.startswith(far))


@pytest.mark.usefixtures("no_udp")
def test_without_udp_traffic_goes_by_derp(lab: Lab) -> None:
    await_pairs(lab.sites, seconds=SWITCH)
    pairs = ping_pairs(lab.sites, count=3)

    assert [pair for pair in pairs if not pair.works] == []
    status = lab.boxes["b"].await_status(lambda s: uses(s, "box-c", "derp"), "DERP path", SWITCH)
    assert any(peer.relay for peer in status.peers if peer.name.startswith("box-c"))


def test_with_udp_back_the_path_is_direct_again(lab: Lab) -> None:
    await_pairs(lab.sites)
    lab.boxes["b"].await_status(lambda s: uses(s, "box-c", "direct"), "direct path", 60)

    assert [pair for pair in ping_pairs(lab.sites, count=3) if not pair.works] == []


# --- an uplink whose address comes from DHCP --------------------------------------------------

LEASED, LEASED_ANEW = "192.168.2.50", "192.168.2.60"  # of the router of site b
# What the client runs: busybox says what it was given in its environment.
ON_LEASE = """#!/bin/sh
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound|renew) ip address replace "$ip/$mask" dev "$interface"
    ip route replace default via "$router" dev "$interface" ;;
esac
"""


class Dhcp:
    """A DHCP server at site b's router, and a client on the uplink of its box."""

    def __init__(self, lab: Lab) -> None:
        site = lab.topology.site("b")
        self._folder = lab.directory
        self._router, self.box = site.routers[0][0], site.box
        self._server: subprocess.Popen[str] | None = None
        self._client: subprocess.Popen[str] | None = None

    def serve(self, address: str) -> None:
        """Give out this address and know of no other lease."""
        self._end(self._server, self._router, "dnsmasq")
        leases = self._folder / f"leases-{address}"
        self._server = self._router.start(
            *("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"),
            *("--interface=inside0", "--dhcp-authoritative", f"--dhcp-leasefile={leases}"),
            *(f"--dhcp-range={address},{address},255.255.255.0,2m", "--no-ping"),
            output=subprocess.DEVNULL,
        )

    def ask(self) -> None:
        script = self._folder / "on-lease"
        script.write_text(ON_LEASE)
        script.chmod(0o755)
        self._client = self.box.start(
            *("busybox", "udhcpc", "-f", "-i", "wan0", "-t", "20", "-T", "1", "-s", str(script)),
            output=subprocess.DEVNULL,
        )

    def renew(self) -> None:
        """Let the client renew now: the server refuses what it never gave out."""
        self.box.run("pkill", "-USR1", "-x", "busybox")

    def await_address(self, address: str) -> None:
        wait_for(
            lambda: f" {address}/" in self.box.run("ip", "-4", "address", "show", "wan0") or None,
            seconds=20,
            otherwise=lambda: f"box-b did not get {address}",
        )

    def close(self) -> None:
        self._end(self._client, self.box, "busybox")
        self._end(self._server, self._router, "dnsmasq")
        self.box.ip(
            "address flush dev wan0 to 192.168.2.0/24",
            "address add 192.168.2.2/24 dev wan0",
            "route replace default via 192.168.2.1",
        )

    def _end(self, process: subprocess.Popen[str] | None, machine: Machine, name: str) -> None:
        if process is not None:
            machine.run("pkill", "-x", name)
            process.wait(timeout=patient(5))


@pytest.fixture
def dhcp(lab: Lab) -> Iterator[Dhcp]:
    made = Dhcp(lab)
    yield made
    made.close()
    await_pairs(lab.sites, seconds=2 * SWITCH)


def test_a_renewal_with_another_address_is_survived(lab: Lab, dhcp: Dhcp) -> None:
    """As of a home router that has lost its leases."""
    dhcp.serve(LEASED)
    dhcp.ask()
    dhcp.await_address(LEASED)
    await_pairs(lab.sites, seconds=2 * SWITCH)
    dhcp.serve(LEASED_ANEW)
    dhcp.renew()
    dhcp.await_address(LEASED_ANEW)

    await_pairs(lab.sites, seconds=SWITCH)
    assert LEASED not in dhcp.box.run("ip", "-4", "address", "show", "wan0")


# --- an uplink of 1,280 octets that says nothing ---------------------------------------------

NARROW = 1280  # octets of a packet
MUTE = """
table inet mute { chain out { type filter hook output priority 0;
icmp type destination-unreachable drop
icmpv6 type packet-too-big drop
}
}"""
# Counts what comes of the datagrams of so many octets, and says how many at the end.
HEAR = """
import socket, sys
with socket.socket({4: 2, 6: 10}[int(sys.argv[2])], 2) as here:
    here.bind((sys.argv[1], 5202)); here.settimeout(float(sys.argv[3])); print("up", flush=True)
    found = set()
    try:
        while len(found) < 20: found.add(here.recv(4096))
    except TimeoutError: pass
    print(len([f for f in found if len(f) == 1200]))
"""
SAY = """
import socket, sys, time
with socket.socket({4: 2, 6: 10}[int(sys.argv[2])], 2) as there:
    for n in range(20): there.sendto(bytes([n]) * 1200, (sys.argv[1], 5202)); time.sleep(0.01)
"""


def narrow_both(lab: Lab) -> None:
    """Let the line between site b's router and the internet carry at most so long packets."""
    site = lab.topology.site("b")
    site.routers[0][0].ip(f"link set wan0 mtu {NARROW}")
    lab.topology.internet.ip(f"link set site-{site.number} mtu {NARROW}")


@pytest.fixture
def quiet(lab: Lab) -> Iterator[Lab]:
    """Have nobody who says that a packet is too long, and make the uplink wide again."""
    site = lab.topology.site("b")
    router, internet = site.routers[0][0], lab.topology.internet
    for machine in (router, internet):
        machine.nft(MUTE)
    yield lab
    router.ip("link set wan0 mtu 1500")
    internet.ip(f"link set site-{site.number} mtu 1500")
    for machine in (router, internet):
        machine.run("nft", "delete", "table", "inet", "mute")


def start_again(lab: Lab) -> None:
    """Start the daemons of b and c: paths in use are measured then, and else once a minute."""
    for name in ("b", "c"):
        lab.boxes[name].daemon.signal("TERM")
        lab.boxes[name].daemon.start()
    for name in ("b", "c"):
        lab.boxes[name].await_answer()


def datagrams(source: Site, destination: Site, version: int) -> int:
    """Send 20 datagrams of 1,200 octets from host to host, and return how many came."""
    address = str(destination.host_v4 if version == 4 else destination.host_v6)
    listener = destination.host.start(
        "/usr/bin/python3", "-c", HEAR, address, str(version), "2", output=subprocess.PIPE
    )
    assert listener.stdout
    first = listener.stdout.readline()
    assert first == "up\n", first + listener.stdout.read()
    source.host.run("/usr/bin/python3", "-c", SAY, address, str(version))
    said, _ = listener.communicate(timeout=patient(10))
    return int(said)


def carries(lab: Lab) -> bool:
    """Say whether hosts of b and c exchange long datagrams of both IP versions."""
    ways = ((lab.topology.site(a), lab.topology.site(b)) for a, b in ("bc", "cb"))
    return all(datagrams(a, b, v) >= 18 for a, b in ways for v in (4, 6))


def test_a_narrow_uplink_carries_tcp_and_long_datagrams(quiet: Lab) -> None:
    narrow_both(quiet)
    start_again(quiet)
    quiet.boxes["b"].await_status(lambda s: uses(s, "box-c", "direct"), "direct path", 60)

    wait_for(lambda: carries(quiet) or None, seconds=30, otherwise=lambda: lost(quiet))
    assert min(rates(quiet)) > 1.0  # Mbit/s: it does not stand still


@pytest.mark.usefixtures("no_udp")
def test_a_narrow_uplink_carries_tcp_and_long_datagrams_by_derp(quiet: Lab) -> None:
    narrow_both(quiet)
    await_pairs(quiet.sites, seconds=SWITCH)

    wait_for(lambda: carries(quiet) or None, seconds=30, otherwise=lambda: lost(quiet))
    assert min(rates(quiet)) > 1.0


def rates(lab: Lab) -> tuple[float, float]:
    """Send TCP between the hosts of b and c, by IPv4 and back by IPv6; return Mbit/s."""
    one, other = lab.topology.site("b"), lab.topology.site("c")
    forth = transfer(one.host, other.host, str(other.host_v4), seconds=2)
    back = transfer(other.host, one.host, str(one.host_v6), seconds=2)
    return forth.rate, back.rate


def lost(lab: Lab) -> str:
    return f"datagrams are lost:\n{lab.boxes['b'].daemon.tail()}"
