"""The proxy addresses, the injected packets, and a socket that knows where packets arrived."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import PROXY_NETWORK
from gatepost.net.paths_own import OwnAddresses
from gatepost.net.paths_proxy import Proxy, ProxyAddresses, datagram, is_wireguard
from gatepost.net.udp import UdpSocket, make_endpoint
from gatepost.sessions.netcheck import Report
from gatepost.sessions.paths_outputs import ByUdp, Local

PORT = 43643
LOOPBACK = IPv4Address("127.0.0.1")
DATA = b"\x04\0\0\0" + bytes(range(61))


def make_key(number: int) -> NodePublic:
    return NodePublic(number.to_bytes(32, "big"))


def test_every_peer_has_its_own_address_and_keeps_it_over_a_restart() -> None:
    keys = [make_key(n) for n in range(1, 5001)]
    first, second = ProxyAddresses(PORT), ProxyAddresses(PORT)
    given = {k: first.endpoint(k) for k in keys}

    assert len(set(given.values())) == len(keys)
    assert all(e.address in PROXY_NETWORK and first.is_proxy(e) for e in given.values())
    assert all(first.owner(e.address.packed) == k for k, e in given.items())
    changed = [k for k in keys if second.endpoint(k) != given[k]]
    assert changed == []


def test_a_peer_that_left_gives_its_address_back() -> None:
    addresses = ProxyAddresses(PORT)
    gone = addresses.endpoint(make_key(1)).address.packed
    addresses.keep([])

    assert addresses.owner(gone) is None


@pytest.mark.parametrize("text", ["127.0.0.1", "127.128.0.1", "192.0.2.1", "::1"])
def test_other_endpoints_are_no_proxies(text: str) -> None:
    assert not ProxyAddresses(PORT).is_proxy(Endpoint(ip_address(text), PORT))


@pytest.mark.parametrize("payload", [DATA, DATA + b"!", b"\xff" * 64, bytes(1400)])
def test_an_injected_packet_is_what_a_peer_would_have_sent(payload: bytes) -> None:
    v4 = datagram(
        Endpoint(ip_address("203.0.113.9"), 999), IPv4Address("192.0.2.1"), 41641, payload
    )
    v6 = datagram(Endpoint(ip_address("2001:db8::9"), 999), IPv6Address("2001:db8::1"), 5, payload)
    short, long = IP(v4), IPv6(v6)
    checksum = long[UDP].chksum
    del long[UDP].chksum

    assert (short.src, short.dst, short[UDP].sport) == ("203.0.113.9", "192.0.2.1", 999)
    assert (short[UDP].dport, short[UDP].chksum, bytes(short[UDP].payload)) == (41641, 0, payload)
    assert (long.src, long.dst, long.plen) == ("2001:db8::9", "2001:db8::1", 8 + len(payload))
    assert IPv6(bytes(long))[UDP].chksum == checksum
    assert bytes(long[UDP].payload) == payload


@pytest.mark.parametrize("packet", [b"", DATA[:31], b"\x05" + DATA[1:], b"\x04\1" + DATA[2:]])
def test_only_wireguard_is_injected(packet: bytes) -> None:
    assert is_wireguard(DATA)
    assert not is_wireguard(packet)


async def test_a_packet_says_where_it_arrived_and_leaves_from_there() -> None:
    heard: asyncio.Queue[tuple[bytes, tuple[str, int], bytes, int]] = asyncio.Queue()
    sockets = [
        UdpSocket(
            IPv4Address(0), 0, mark=0,
            on_packet=lambda p, s, at, i: heard.put_nowait((p, s, at, i)), on_batch=lambda: None,
        )
        for _ in range(2)
    ]  # fmt: skip
    one, two = sockets
    there = IPv4Address("127.7.8.9")
    one.send(DATA, Endpoint(there, two.port), Local(IPv4Address("127.1.2.3"), 0))
    packet, sender, local, interface = await asyncio.wait_for(heard.get(), 5)
    for each in sockets:
        each.close()

    assert (packet, make_endpoint(sender).address) == (DATA, IPv4Address("127.1.2.3"))
    assert (local, interface) == (there.packed, 1)


async def test_sending_nowhere_loses_the_packet_and_counts_it() -> None:
    lonely = UdpSocket(
        LOOPBACK, 0, mark=0, on_packet=lambda _p, _s, _l, _i: None, on_batch=lambda: None
    )
    lonely.send(DATA, Endpoint(IPv4Address("203.0.113.1"), 9))
    lonely.close()

    assert lonely.lost == 1


@pytest.mark.root
async def test_wireguard_hears_the_peer_where_it_shall_and_is_heard_for_it() -> None:
    outbound: asyncio.Queue[tuple[NodePublic, bytes]] = asyncio.Queue()
    inbound: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
    wireguard = UdpSocket(
        IPv4Address(0), 0, mark=0,
        on_packet=lambda p, s, _l, _i: inbound.put_nowait((p, s)), on_batch=lambda: None,
    )  # fmt: skip
    addresses = ProxyAddresses(PORT)
    proxy = Proxy(
        wireguard.port, addresses, PORT,
        on_outbound=lambda k, p: outbound.put_nowait((k, p)), on_batch=lambda: None,
    )  # fmt: skip
    key = make_key(7)
    direct = ByUdp(Endpoint(IPv4Address("203.0.113.9"), 999), Local(LOOPBACK, 0))
    wireguard.send(DATA, addresses.endpoint(key))
    wireguard.send(b"nobody's", Endpoint(IPv4Address("127.64.0.1"), PORT))
    proxy.inject(key, DATA, None)
    proxy.inject(key, DATA, direct)
    try:
        assert await asyncio.wait_for(outbound.get(), 5) == (key, DATA)
        first = make_endpoint((await asyncio.wait_for(inbound.get(), 5))[1])
        second = make_endpoint((await asyncio.wait_for(inbound.get(), 5))[1])
        assert (first, second) == (addresses.endpoint(key), direct.endpoint)
        assert outbound.empty()
    finally:
        proxy.close()
        wireguard.close()


def test_own_addresses_are_told_without_those_that_nobody_else_can_use() -> None:
    given = [
        ip_address(a)
        for a in (
            "192.0.2.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "fe80::1", "::1", "2001:db8::1",
            "fd7a:115c:a1e0::1",
        )
    ]  # fmt: skip
    own = OwnAddresses(lambda: given, 41641)
    own.refresh_local()
    mapped = Endpoint(IPv4Address("203.0.113.9"), 5000)
    own.take(Report(seen_v4=(mapped,), latencies={1: 0.1}), (), now=0.0)
    told = [(str(e.endpoint), e.wire_type) for e in own.endpoints()]
    own.take(Report(latencies={}), (), now=400.0)

    assert told == [("192.0.2.1:41641", 1), ("[2001:db8::1]:41641", 1), (str(mapped), 2)]
    assert [e.kind for e in own.endpoints()] == ["local", "local"]


def test_an_address_that_has_gone_is_noticed() -> None:
    given = [IPv4Address("192.0.2.1")]
    own = OwnAddresses(lambda: given, 41641)

    assert not own.refresh_local()
    given[0] = IPv4Address("192.0.2.2")
    assert own.refresh_local()
