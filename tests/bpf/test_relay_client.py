"""The promises of the program that puts a relay's header on WireGuard's packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address, ip_address

import pytest
from scapy.layers.inet import IP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from gatepost.bpf import read_object
from gatepost.linux.bpf import BpfMap, LoadedProgram, load_object
from gatepost.linux.bpf_object import read_object_file
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.wire.geneve import DISCO, WIREGUARD, Geneve, write_geneve

pytestmark = pytest.mark.root

NEXT = 0xFFFFFFFF  # -1: the next program may look at it
DROP = 2
VNI = 0xABCDEF
TO, FROM = "02:00:00:00:00:02", "02:00:00:00:00:01"
WIREGUARD_DATA = b"\x04\0\0\0" + bytes(range(256)) * 5
HERE = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
RELAY = {
    4: Endpoint(ip_address("203.0.113.50"), 7777),
    6: Endpoint(ip_address("2001:db8:50::7"), 7777),
}
STAND_IN = {4: ip_address("198.18.3.4"), 6: ip_address("2001:2::3:4")}
PEER = {4: Endpoint(ip_address("198.51.100.9"), 41641), 6: Endpoint(ip_address("2001:db8:9::9"), 9)}


def mapped(address: IPAddress) -> bytes:
    return (
        address.packed
        if isinstance(address, IPv6Address)
        else bytes(10) + b"\xff\xff" + address.packed
    )


class Programs:
    """All programs of the object, on one set of maps, with one place per version of IP."""

    def __init__(self, stack: ExitStack) -> None:
        content = read_object_file(read_object("relay_client"))
        self.maps: dict[str, BpfMap] = {}
        self.programs: dict[str, LoadedProgram] = {}
        for name in content.programs:
            program, maps = load_object(content, name, self.maps)
            self.programs[name] = stack.enter_context(program)
            for opened in maps.values():
                stack.callback(opened.close)
            self.maps = {**maps, **self.maps}
        for version in (4, 6):
            self.give(version)
            self.appear(version, Endpoint(STAND_IN[version], 1))

    def give(self, version: int) -> None:
        relay = RELAY[version]
        self.maps["places"].put(mapped(STAND_IN[version]), self.place(version))
        assert relay.port == 7777

    def place(self, version: int) -> bytes:
        relay = RELAY[version]
        return mapped(relay.address) + struct.pack("!HHI", relay.port, 0, VNI << 8)

    def appear(self, version: int, sender: Endpoint) -> None:
        both = mapped(STAND_IN[version]) + mapped(sender.address)
        value = both + struct.pack("!HH", sender.port, 0)
        self.maps["senders"].put(self.place(version), value)

    def run(self, name: str, packet: bytes) -> tuple[int, bytes]:
        verdict, after = self.programs[name].run(packet)
        return verdict & 0xFFFFFFFF, after


@pytest.fixture
def programs() -> Iterator[Programs]:
    with ExitStack() as stack:
        yield Programs(stack)


def make_packet(
    version: int, source: Endpoint, to: Endpoint, content: bytes, *, checksum: bool = True
) -> bytes:
    """Return an Ethernet frame; without `checksum` that of UDP is 0."""
    layer = IP if version == 4 else IPv6
    udp = UDP(sport=source.port, dport=to.port, chksum=None if checksum else 0)
    packet = (
        Ether(dst=TO, src=FROM)
        / layer(src=str(source.address), dst=str(to.address))
        / udp
        / content
    )
    return bytes(packet)


def outbound(version: int, content: bytes = WIREGUARD_DATA, *, checksum: bool = True) -> bytes:
    here, there = Endpoint(HERE[version], 41641), Endpoint(STAND_IN[version], 1)
    return make_packet(version, here, there, content, checksum=checksum)


def on_the_wire(version: int, content: bytes = WIREGUARD_DATA, *, out: bool = True) -> bytes:
    here = Endpoint(HERE[version], 41641)
    wrapped = write_geneve(Geneve(VNI, WIREGUARD), content)
    ends = (here, RELAY[version]) if out else (RELAY[version], here)
    return make_packet(version, *ends, wrapped)


def inbound(version: int, sender: Endpoint, content: bytes = WIREGUARD_DATA) -> bytes:
    return make_packet(version, sender, Endpoint(HERE[version], 41641), content)


def without_checksum(packet: bytes) -> bytes:
    """Return an IPv4 packet as if its UDP had no checksum."""
    return packet[:40] + bytes(2) + packet[42:]


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_to_a_stand_in_leaves_for_the_relay_with_the_header(
    programs: Programs, version: int
) -> None:
    verdict, after = programs.run("wrap", outbound(version))

    assert verdict == NEXT
    assert after == on_the_wire(version)  # lengths and checksums included


@pytest.mark.parametrize("size", [1, 31, 32, 148, 1280, 2040])
@pytest.mark.parametrize("version", [4, 6])
def test_packets_of_all_sizes_get_the_header(programs: Programs, version: int, size: int) -> None:
    content = (WIREGUARD_DATA * 2)[:size]
    verdict, after = programs.run("wrap", outbound(version, content.ljust(9, b"\1")))

    assert verdict == NEXT
    assert after == on_the_wire(version, content.ljust(9, b"\1"))


def test_no_checksum_stays_none(programs: Programs) -> None:
    _, after = programs.run("wrap", outbound(4, checksum=False))

    assert after == without_checksum(on_the_wire(4))


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_of_the_relay_comes_in_from_the_stand_in(programs: Programs, version: int) -> None:
    verdict, after = programs.run("unwrap", on_the_wire(version, out=False))
    expected = inbound(version, Endpoint(STAND_IN[version], 1))

    assert verdict == NEXT
    assert after == (without_checksum(expected) if version == 4 else expected)


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_of_the_relay_comes_in_from_where_it_shall(
    programs: Programs, version: int
) -> None:
    programs.appear(version, PEER[version])
    _, after = programs.run("unwrap", on_the_wire(version, out=False))
    expected = inbound(version, PEER[version])

    assert after == (without_checksum(expected) if version == 4 else expected)


@pytest.mark.parametrize("version", [4, 6])
def test_discovery_keeps_its_header_both_ways(programs: Programs, version: int) -> None:
    here, stand_in = Endpoint(HERE[version], 41641), Endpoint(STAND_IN[version], 1)
    programs.appear(version, PEER[version])  # makes no difference
    for is_control in (False, True):
        content = write_geneve(Geneve(VNI, DISCO, is_control=is_control), b"TS" * 60)
        _, out = programs.run("wrap", make_packet(version, here, stand_in, content))
        _, came = programs.run("unwrap", make_packet(version, RELAY[version], here, content))

        assert out == make_packet(version, here, RELAY[version], content)
        assert came == make_packet(version, stand_in, here, content)


@pytest.mark.parametrize("version", [4, 6])
def test_packets_without_ethernet_are_treated_the_same(programs: Programs, version: int) -> None:
    link = 14
    whole = outbound(version)
    _, framed = programs.run("wrap", whole)
    # The kernel's test run takes a frame; so the bare program sees one that it must not know.
    verdict, after = programs.run("wrap_bare", whole)

    assert framed[link:] == on_the_wire(version)[link:]
    assert (verdict, after) == (NEXT, whole)


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_for_nobody_we_know_is_left_alone(programs: Programs, version: int) -> None:
    here, relay = Endpoint(HERE[version], 41641), RELAY[version]
    stand_in = Endpoint(STAND_IN[version], 1)
    other_vni = write_geneve(Geneve(VNI + 1, WIREGUARD), WIREGUARD_DATA)
    ours = write_geneve(Geneve(VNI, WIREGUARD), WIREGUARD_DATA)
    out = [
        make_packet(version, here, Endpoint(STAND_IN[version], 2), WIREGUARD_DATA),
        make_packet(version, here, Endpoint(STAND_IN[version] + 1, 1), WIREGUARD_DATA),
        make_packet(version, here, stand_in, b""),
        make_packet(version, here, relay, ours),
    ]
    into = [
        make_packet(version, relay, here, other_vni),
        make_packet(version, Endpoint(relay.address, 7778), here, ours),
        make_packet(version, Endpoint(relay.address + 1, relay.port), here, ours),
        make_packet(version, relay, here, WIREGUARD_DATA),
        make_packet(version, relay, here, b"\x40" + ours[1:]),
        make_packet(version, relay, here, ours[:8]),
        make_packet(version, relay, here, ours[:7]),
        make_packet(version, relay, here, b""),
    ]

    assert [programs.run("wrap", p) for p in out] == [(NEXT, p) for p in out]
    assert [programs.run("unwrap", p) for p in into] == [(NEXT, p) for p in into]


def test_a_packet_that_is_too_long_is_dropped_and_counted(programs: Programs) -> None:
    verdict, _ = programs.run("wrap", outbound(4, b"\4" + bytes(2040)))

    assert verdict == DROP
    assert programs.maps["refused"].get(struct.pack("=I", 1)) == struct.pack("=Q", 1)


def test_fragments_and_options_are_left_alone(programs: Programs) -> None:
    whole = outbound(4)
    link, udp = Ether(whole[:14]), whole[34:]
    plain = IP(src=str(HERE[4]), dst=str(STAND_IN[4]), proto=17)

    assert programs.run("wrap", bytes(link / plain / udp))[1] != bytes(link / plain / udp)
    for changed in ({"frag": 10}, {"flags": "MF"}, {"options": [IPOption(b"\1\1\1\1")]}):
        header = plain.copy()
        for field, value in changed.items():
            header.setfieldval(field, value)
        packet = bytes(link / header / udp)
        assert programs.run("wrap", packet) == (NEXT, packet), changed


def test_what_is_wrapped_here_is_unwrapped_there(programs: Programs) -> None:
    """Round trip, the far end has the same place for us."""
    for version in (4, 6):
        _, wire = programs.run("wrap", outbound(version))
        turned = make_packet(
            version,
            RELAY[version],
            Endpoint(HERE[version], 41641),
            wire[14 + (20 if version == 4 else 40) + 8 :],
        )
        _, after = programs.run("unwrap", turned)

        assert after.endswith(WIREGUARD_DATA)
