"""The kernel joins packets on their way in; ours must not be joined with others."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from tests.net.inside import udp_socket

from gatepost.engine.steering import steering_filter
from gatepost.net.gro import keep_packets_apart
from gatepost.net.udp import set_receive_buffer
from gatepost.testing.netns import Machine, Machines, connect, machines

pytestmark = pytest.mark.root
P, Q = 41641, 41642
DATA = b"\x04\0\0\0" + bytes(196)
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(60)
ROUNDS = 100


@pytest.fixture
def owner() -> Iterator[Machines]:
    with machines() as owned:
        yield owned


@pytest.fixture
def pair(owner: Machines) -> tuple[Machine, Machine]:
    """Return a machine whose network card joins packets, and which steers them, and another."""
    box, peer = owner.add("box", "peer")
    connect(box, "wan0", peer, "wan0")
    box.ip("address add 10.9.0.1/24 dev wan0")
    peer.ip("address add 10.9.0.2/24 dev wan0")
    box.run("ethtool", "-K", "wan0", "gro", "on", "rx-udp-gro-forwarding", "on")
    box.run("sh", "-c", "echo 1 > /sys/class/net/wan0/threaded")
    box.nft(steering_filter(P).text)
    return box, peer


def drain(reader: socket.socket) -> int:
    reader.settimeout(0.2)
    count = 0
    with contextlib.suppress(TimeoutError):
        while reader.recv(65535):
            count += 1
    return count


def test_discovery_is_steered_also_from_amid_wireguards_data(pair: tuple[Machine, Machine]) -> None:
    box, peer = pair
    wireguard, discovery = (udp_socket(box, "0.0.0.0", port) for port in (P, Q))
    for reader in (wireguard, discovery):
        set_receive_buffer(reader)
    sender = udp_socket(peer, "0.0.0.0", 0)
    with keep_packets_apart(), wireguard, discovery, sender:
        for turn in range(ROUNDS):
            for packet in (*[DATA] * 5, DISCO):
                sender.sendto(packet, ("10.9.0.1", P))
            if turn % 10 == 0:
                time.sleep(0.005)
        found = drain(discovery), drain(wireguard)

    assert found == (ROUNDS, 5 * ROUNDS)
