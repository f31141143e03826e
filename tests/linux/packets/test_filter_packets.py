"""Packets against the packet filter in a real kernel: who gets through, who does not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw
from tests.linux.packets.wires import (
    ELSEWHERE,
    EVERYTHING,
    FAR,
    HOST,
    NOBODY,
    ODD,
    OWN,
    SERVER_ONLY,
    WISHES,
    Router,
    peer,
)

from gatepost.model.netmap import IPNetwork
from gatepost.testing.makers import ALLOW_ALL

pytestmark = pytest.mark.root

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def packet(source: str, target: str) -> Packet:
    if ":" in source:
        return IPv6(src=source, dst=target)
    return IP(src=source, dst=target)


def from_peer(number: int, target: str) -> Packet:
    return packet(peer(number, 6 if ":" in target else 4), target)


def echo(version: int) -> Packet:
    return ICMP(type="echo-request", id=7) if version == 4 else ICMPv6EchoRequest(id=7)


def syn(port: int) -> Packet:
    return TCP(sport=40000, dport=port, flags="S", options=[("MSS", 1460)])


def udp(port: int) -> Packet:
    return UDP(sport=40000, dport=port) / Raw(b"question")


# (peer, what it sends, may it)
SERVICES = [
    (SERVER_ONLY, syn(80), True),
    (SERVER_ONLY, syn(81), False),
    (SERVER_ONLY, udp(53), True),
    (SERVER_ONLY, udp(80), False),
    (SERVER_ONLY, Raw(b"\0" * 20), False),
    (EVERYTHING, syn(81), True),
    (EVERYTHING, udp(9), True),
    (EVERYTHING, GRE() / Raw(b"\0" * 20), False),
    (ODD, GRE() / Raw(b"\0" * 20), True),
    (ODD, syn(80), False),
    (NOBODY, syn(80), False),
    (NOBODY, udp(53), False),
]


@VERSIONS
@pytest.mark.parametrize(("number", "content", "may"), SERVICES)
def test_a_rule_lets_its_protocols_and_ports_in_and_no_others(
    router: Router, version: int, number: int, content: Packet, may: bool
) -> None:
    into_box = router.from_mesh(from_peer(number, OWN[version]) / content)
    through = router.from_mesh(from_peer(number, HOST[version]) / content)

    assert (bool(into_box.mesh), bool(through.lan)) == (may, may)


@VERSIONS
@pytest.mark.parametrize("number", [SERVER_ONLY, EVERYTHING, ODD])
def test_whoever_may_use_anything_may_ask_whether_it_is_alive(
    router: Router, version: int, number: int
) -> None:
    assert router.from_mesh(from_peer(number, OWN[version]) / echo(version)).mesh
    assert router.from_mesh(from_peer(number, HOST[version]) / echo(version)).lan


@VERSIONS
def test_whoever_may_use_nothing_gets_no_echo(router: Router, version: int) -> None:
    assert router.from_mesh(from_peer(NOBODY, OWN[version]) / echo(version)).is_nothing
    assert router.from_mesh(from_peer(NOBODY, HOST[version]) / echo(version)).is_nothing


def test_other_icmp_questions_need_the_protocol_in_the_rule(router: Router) -> None:
    question = ICMP(type="timestamp-request")

    assert router.from_mesh(from_peer(EVERYTHING, OWN[4]) / question).mesh
    assert router.from_mesh(from_peer(SERVER_ONLY, OWN[4]) / question).is_nothing


@VERSIONS
def test_every_peer_may_use_the_doors_of_the_mesh(router: Router, version: int) -> None:
    assert router.from_mesh(from_peer(NOBODY, OWN[version]) / syn(8080)).mesh
    assert router.from_mesh(from_peer(NOBODY, OWN[version]) / udp(8081)).mesh
    assert router.from_mesh(from_peer(NOBODY, HOST[version]) / syn(8080)).is_nothing


@VERSIONS
def test_every_peer_may_send_a_peer_ping_to_the_box_alone(router: Router, version: int) -> None:
    def ping(target: str) -> Packet:
        sent = from_peer(NOBODY, target) / Raw(b"p" + bytes(8))
        sent.setfieldval("proto" if version == 4 else "nh", 99)
        return sent

    assert router.from_mesh(ping(OWN[version])).mesh  # nobody listens: "protocol unreachable"
    assert router.from_mesh(ping(HOST[version])).is_nothing


# --- headers that hide the port ---------------------------------------------------------


def hidden(port: int) -> list[Packet]:
    """Return forms of one SYN behind extension headers."""
    pad = PadN(optdata=b"\0" * 4)
    base = from_peer(SERVER_ONLY, OWN[6])
    return [
        base / IPv6ExtHdrHopByHop(options=[pad]) / syn(port),
        base / IPv6ExtHdrDestOpt(options=[pad]) / syn(port),
        base / IPv6ExtHdrHopByHop(options=[pad]) / IPv6ExtHdrDestOpt(options=[pad]) / syn(port),
        base / IPv6ExtHdrFragment(id=9) / syn(port),
    ]


@pytest.mark.parametrize("form", range(4))
def test_extension_headers_neither_hide_a_port_nor_block_it(router: Router, form: int) -> None:
    assert router.from_mesh(hidden(80)[form]).mesh
    assert router.from_mesh(hidden(81)[form]).is_nothing


@VERSIONS
@pytest.mark.parametrize(("port", "may"), [(53, True), (54, False)])
def test_fragments_are_judged_as_the_whole_they_make(
    router: Router, version: int, port: int, may: bool
) -> None:
    whole = UDP(sport=40000, dport=port) / Raw(b"x" * 1500)
    for target, wire in ((OWN[version], "mesh"), (HOST[version], "lan")):
        pieces = _cut(from_peer(SERVER_ONLY, target) / whole)
        outcome = router.from_mesh(*pieces)

        assert len(pieces) > 1
        assert bool(getattr(outcome, wire)) == may


@VERSIONS
def test_a_fragment_without_its_beginning_goes_nowhere(router: Router, version: int) -> None:
    whole = UDP(sport=40000, dport=53) / Raw(b"y" * 1500)
    pieces = _cut(from_peer(SERVER_ONLY, HOST[version]) / whole)

    assert router.from_mesh(*pieces[1:]).is_nothing


def _cut(whole: Packet) -> list[Packet]:
    """Cut a UDP packet into fragments of 600 bytes (a multiple of 8)."""
    header, content = (
        packet(whole.src, whole.dst),
        bytes(whole)[len(packet(whole.src, whole.dst)) :],
    )
    pieces: list[Packet] = []
    for start in range(0, len(content), 600):
        part, more = Raw(content[start : start + 600]), int(start + 600 < len(content))
        if whole.version == 4:
            piece = IP(src=whole.src, dst=whole.dst, id=11, proto=17, frag=start // 8, flags=more)
            pieces.append(piece / part)
        else:
            extension = IPv6ExtHdrFragment(nh=17, id=11, offset=start // 8, m=more)
            pieces.append(header / extension / part)
    return pieces


# --- who claims to be whom -----------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        *(OWN[4], HOST[4], "192.0.2.1", "127.0.0.1", "10.8.0.1", "0.0.0.0", "224.0.0.1"),
        *(OWN[6], HOST[6], "2001:db8::1", "::1", "ff02::1"),
    ],
)
def test_a_source_that_cannot_be_in_the_mesh_is_dropped(router: Router, source: str) -> None:
    router.load(replace(WISHES, admit=ALLOW_ALL))
    version = 6 if ":" in source else 4

    assert router.from_mesh(packet(source, OWN[version]) / echo(version)).is_nothing
    assert router.from_mesh(packet(source, HOST[version]) / echo(version)).is_nothing


def test_a_link_local_source_gets_an_error_at_most(router: Router) -> None:
    """The kernel's own, before the filter has its say: such a packet is not routed (RFC 4007)."""
    router.load(replace(WISHES, admit=ALLOW_ALL))
    outcome = router.from_mesh(packet("fe80::1", HOST[6]) / echo(6))

    assert router.from_mesh(packet("fe80::1", OWN[6]) / echo(6)).is_nothing
    assert not outcome.lan
    assert all(ICMPv6DestUnreach in answer for answer in outcome.mesh)


@VERSIONS
def test_a_mesh_address_is_believed_only_from_the_mesh(router: Router, version: int) -> None:
    claim = packet(peer(EVERYTHING, version), OWN[version]) / echo(version)

    assert router.from_lan(claim).is_nothing
    assert router.from_mesh(claim).mesh


@VERSIONS
def test_a_host_behind_a_peer_may_come_as_the_rules_say(router: Router, version: int) -> None:
    assert router.from_mesh(packet(FAR[version], HOST[version]) / syn(80)).lan
    assert router.from_mesh(packet(FAR[version], HOST[version]) / syn(81)).is_nothing


# --- answers ---------------------------------------------------------------------------------


@VERSIONS
def test_answers_come_back_without_a_rule(router: Router, version: int) -> None:
    target = peer(NOBODY, version)
    question = packet(HOST[version], target) / UDP(sport=5000, dport=6000) / Raw(b"?")
    answer = packet(target, HOST[version]) / UDP(sport=6000, dport=5000) / Raw(b"!")

    assert router.from_mesh(answer).is_nothing
    assert router.from_lan(question).mesh
    assert router.from_mesh(answer).lan


@VERSIONS
def test_an_error_about_our_own_packet_comes_back_and_an_invented_one_does_not(
    router: Router, version: int
) -> None:
    target = peer(NOBODY, version)
    question = packet(HOST[version], target) / UDP(sport=5000, dport=6000) / Raw(b"?")

    assert router.from_mesh(_unreachable(question)).is_nothing
    (sent,) = router.from_lan(question).mesh
    (error,) = router.from_mesh(_unreachable(sent)).lan

    assert error.dst == HOST[version]


def _unreachable(about: Packet) -> Packet:
    """Return "port unreachable" from the packet's destination to its source."""
    quoted = Raw(bytes(about))
    if about.version == 4:
        return IP(src=about.dst, dst=about.src) / ICMP(type=3, code=3) / quoted
    return IPv6(src=about.dst, dst=about.src) / ICMPv6DestUnreach(code=4) / quoted


def test_redirects_and_neighbours_have_no_place_in_a_tunnel(router: Router) -> None:
    everything = from_peer(EVERYTHING, OWN[4])
    about = packet(OWN[4], peer(EVERYTHING, 4)) / udp(9)
    redirect = everything / ICMP(type=5, code=1, gw="10.1.0.66") / Raw(bytes(about))
    solicit = from_peer(EVERYTHING, OWN[6]) / ICMPv6ND_NS(tgt=OWN[6])
    solicit.hlim = 255
    advert = from_peer(EVERYTHING, OWN[6]) / ICMPv6ND_RA()
    advert.hlim = 255

    assert router.from_mesh(redirect).is_nothing
    assert router.from_mesh(solicit).is_nothing
    assert router.from_mesh(advert).is_nothing
    assert "counter packets 1" in router.machine.run("nft", "list chain inet gatepost unwanted")


# --- where to ----------------------------------------------------------------------------------

NOWHERE = [
    *("10.2.0.9", "192.0.2.9", "127.0.0.1", "169.254.1.1", "224.0.0.5", "239.1.1.1"),
    *("10.1.0.255", "255.255.255.255", "0.0.0.1", "240.0.0.1", "100.64.0.50", "10.9.0.9"),
    *("fd00:2::9", "2001:db8::9", "::1", "fe80::1", "ff02::1", "ff05::1"),
    *("fd7a:115c:a1e0::50", "fd00:9::9"),
]
SPECIAL = [a for a in NOWHERE if a not in {"10.2.0.9", "192.0.2.9", "fd00:2::9", "2001:db8::9"}]


@pytest.mark.parametrize("target", NOWHERE)
def test_only_approved_networks_are_reached(router: Router, target: str) -> None:
    version = 6 if ":" in target else 4

    assert router.from_mesh(from_peer(EVERYTHING, target) / echo(version)).is_nothing


@pytest.mark.parametrize("target", SPECIAL)
def test_some_places_are_never_reached_whatever_is_wished(router: Router, target: str) -> None:
    everywhere: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    router.load(replace(WISHES, forward=everywhere, masquerade=everywhere))
    version = 6 if ":" in target else 4

    assert router.from_mesh(from_peer(EVERYTHING, "10.2.0.9") / echo(4)).lan  # it is that open
    assert router.from_mesh(from_peer(EVERYTHING, target) / echo(version)).is_nothing


@VERSIONS
def test_the_box_is_reached_by_its_address_in_an_approved_network_only(
    router: Router, version: int
) -> None:
    approved, other = ("10.1.0.1", "10.2.0.1") if version == 4 else ("fd00:1::1", "fd00:2::1")

    assert router.from_mesh(from_peer(EVERYTHING, approved) / echo(version)).mesh
    assert router.from_mesh(from_peer(NOBODY, approved) / echo(version)).is_nothing
    assert router.from_mesh(from_peer(EVERYTHING, other) / echo(version)).is_nothing


def test_hosts_go_out_to_the_mesh_only_where_it_is_wished(router: Router) -> None:
    assert router.from_lan(packet(HOST[4], FAR[4]) / echo(4)).mesh
    assert router.from_lan(packet(HOST[4], "10.8.0.1") / echo(4)).is_nothing


def test_what_does_not_touch_the_mesh_is_not_our_business(router: Router) -> None:
    assert router.from_lan(packet(HOST[4], "10.1.0.1") / echo(4)).lan
    assert router.from_lan(packet(HOST[4], ELSEWHERE[4]) / echo(4)).lan


# --- rewriting -----------------------------------------------------------------------------------


@VERSIONS
def test_masqueraded_traffic_leaves_as_the_box_and_comes_back(router: Router, version: int) -> None:
    router.load(replace(WISHES, masquerade=WISHES.forward))
    (out,) = router.from_mesh(from_peer(EVERYTHING, HOST[version]) / echo(version)).lan
    assert out.src == ("10.1.0.1" if version == 4 else "fd00:1::1")
    identity = out[ICMP].id if version == 4 else out[ICMPv6EchoRequest].id
    kind = ICMP(type="echo-reply", id=identity) if version == 4 else ICMPv6EchoReply(id=identity)
    (back,) = router.from_lan(packet(HOST[version], out.src) / kind).mesh

    assert (back.src, back.dst) == (HOST[version], peer(EVERYTHING, version))


@VERSIONS
def test_only_what_was_wished_is_masqueraded(router: Router, version: int) -> None:
    router.load(replace(WISHES, masquerade=(ip_network("10.2.0.0/24"), ip_network("fd00:2::/64"))))
    (in_,) = router.from_mesh(from_peer(EVERYTHING, HOST[version]) / echo(version)).lan
    (out,) = router.from_lan(packet(HOST[version], FAR[version]) / echo(version)).mesh

    assert in_.src == peer(EVERYTHING, version)
    assert out.src == HOST[version]


@VERSIONS
def test_segments_are_made_to_fit_the_tunnel_in_both_directions(
    router: Router, version: int
) -> None:
    router.load(replace(WISHES, clamp=WISHES.forward))
    fits = 1280 - (40 if version == 4 else 60)
    (in_,) = router.from_mesh(from_peer(EVERYTHING, HOST[version]) / syn(80)).lan
    (out,) = router.from_lan(packet(HOST[version], FAR[version]) / syn(80)).mesh

    assert dict(in_[TCP].options)["MSS"] == fits
    assert dict(out[TCP].options)["MSS"] == fits
