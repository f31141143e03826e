"""What the steering rules do to packets, in both forms and both versions of IP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from tests.net.inside import inside, udp_socket

from gatepost.engine.steering import steering_filter
from gatepost.model.netmap import IPAddress
from gatepost.model.owned import INJECTION_MARK
from gatepost.testing.netns import Machine, Machines, machines
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Nat, Site, Topology, build

pytestmark = pytest.mark.root
P, Q, R = 41641, 41642, 41643
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(100)
STUN = bytes.fromhex("010100002112a442") + bytes(12)
DATA = b"\x04\0\0\0" + bytes(60)
STEALTHY = b"\x01\0\0\0\x21\x12\xa4\x42" + bytes(140)  # an initiation with STUN's cookie in it
NO_CHECK = 11  # SO_NO_CHECK: send without checksum


@pytest.fixture(scope="module")
def owner() -> Iterator[Machines]:
    with machines() as owned:
        yield owned


@pytest.fixture(scope="module")
def internet(owner: Machines) -> Topology:
    return build(owner, {"one": Nat.NONE, "two": Nat.SYMMETRIC})


# The last is a machine whose addresses changed a moment ago.
HERE: Mapping[str, Callable[[Site], Sequence[IPAddress] | None]] = {
    "tracked": lambda _: None,
    "untracked": lambda site: (site.public_v4, site.public_v6),
    "stale": lambda _: (),
}


@pytest.fixture(params=HERE)
def box(internet: Topology, request: pytest.FixtureRequest) -> Machine:
    """Return a box with the rules that tracks connections, as one with a firewall does."""
    site = internet.site("one")
    machine = site.box
    machine.run("nft", "flush", "ruleset")
    machine.nft(steering_filter(P, HERE[request.param](site)).text)
    machine.nft(
        "table inet user { chain in { type filter hook input priority 0;"
        " ct state established accept; }; }"
    )
    return machine


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


class Ends:
    """The sockets of a box, P and Q, and one of a machine in the internet."""

    def __init__(self, box: Machine, outside: Machine, version: int, address: str) -> None:
        anywhere = "0.0.0.0" if version == 4 else "::"
        self.version = version
        self.address = address
        self.wireguard = udp_socket(box, anywhere, P)
        self.discovery = udp_socket(box, anywhere, Q)
        self.outside = udp_socket(outside, anywhere, 0)
        self.target = str(INTERNET_V4 if version == 4 else INTERNET_V6)

    def close(self) -> None:
        for each in (self.wireguard, self.discovery, self.outside):
            each.close()


@pytest.fixture
def ends(internet: Topology, box: Machine, version: int) -> Iterator[Ends]:
    site = internet.site("one")
    address = str(site.public_v4 if version == 4 else site.public_v6)
    with contextlib.closing(Ends(box, internet.internet, version, address)) as made:
        yield made


def heard(by: socket.socket) -> bytes | None:
    """Return the next packet, None when there is none."""
    try:
        return by.recv(65535)
    except TimeoutError:
        return None


@pytest.mark.parametrize("packet", [DISCO, STUN, DISCO + bytes(3000)])
def test_disco_and_stun_for_wireguards_port_reach_the_path_service(
    ends: Ends, packet: bytes
) -> None:
    ends.outside.sendto(packet, (ends.address, P))

    assert heard(ends.discovery) == packet


@pytest.mark.parametrize("packet", [DATA, STEALTHY, b"", b"TS"])
def test_everything_else_stays_wireguards(ends: Ends, packet: bytes) -> None:
    ends.outside.sendto(packet, (ends.address, P))

    assert heard(ends.wireguard) == packet


@pytest.mark.parametrize("port", [Q, R])
def test_nobody_outside_talks_to_the_path_service_past_the_rules(ends: Ends, port: int) -> None:
    ends.outside.sendto(DISCO, (ends.address, port))

    ends.discovery.settimeout(0.2)
    assert heard(ends.discovery) is None


def test_answers_leave_with_wireguards_port(ends: Ends) -> None:
    there = ends.outside.getsockname()[1]
    sources: list[int] = []
    for one in (ends.discovery, ends.wireguard):
        one.sendto(DISCO, (ends.target, there))
        sources.append(ends.outside.recvfrom(2000)[1][1])

    assert sources == [P, P]


def test_packets_without_checksum_survive_both_ways(ends: Ends) -> None:
    if ends.version == 6:
        pytest.skip("IPv6 has no packets without checksum")
    for one in (ends.outside, ends.discovery):
        one.setsockopt(socket.SOL_SOCKET, NO_CHECK, 1)
    ends.outside.sendto(DISCO, (ends.address, P))
    ends.discovery.sendto(STUN, (ends.target, ends.outside.getsockname()[1]))

    assert heard(ends.discovery) == DISCO
    assert heard(ends.outside) == STUN


@pytest.mark.parametrize("packet", [DISCO, DATA])
def test_packets_that_are_only_forwarded_are_not_touched(
    internet: Topology, box: Machine, version: int, packet: bytes
) -> None:
    """A node in the LAN behind the box uses the same port."""
    site = internet.site("one")
    box.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    box.nft("table inet nat { chain p { type nat hook postrouting priority 100;"
            ' oifname "wan0" masquerade; }; }')  # fmt: skip
    host = str(site.host_v4 if version == 4 else site.host_v6)
    target = str(INTERNET_V4 if version == 4 else INTERNET_V6)
    with (
        udp_socket(site.host, host, P) as inner,
        udp_socket(internet.internet, target, P) as outer,
    ):
        inner.sendto(packet, (target, P))
        received, source = outer.recvfrom(2000)
        outer.sendto(packet, source)

        assert received == packet
        assert source[0] == str(site.public_v4 if version == 4 else site.public_v6)
        # Untracked, the NAT cannot know that P is taken: not the form for such a machine.
        if "notrack udp dport" not in box.run("nft", "list", "table", "inet", "gatepost-path"):
            assert heard(inner) == packet


def test_marked_packets_never_leave_the_machine(internet: Topology, box: Machine) -> None:
    def open_marked() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, INJECTION_MARK)
        return made

    with (
        inside(box, open_marked) as sender,
        udp_socket(internet.internet, "0.0.0.0", 0) as outer,
    ):
        outer.settimeout(0.2)
        with contextlib.suppress(PermissionError):
            sender.sendto(DATA, (str(INTERNET_V4), outer.getsockname()[1]))

        assert heard(outer) is None
