"""The text protocol of wireguard-go, read strictly."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.linux.uapi import read_answer, write_set
from gatepost.linux.wireguard_state import DeviceState, DeviceUpdate, PeerState, PeerUpdate
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import Endpoint

# The example of wireguard.com/xplatform, shortened, with counters as wireguard-go writes them.
ANSWER = """\
private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
listen_port=12912
fwmark=524288
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
protocol_version=1
endpoint=[abcd:23::33%2]:51820
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=192.168.4.4/32
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
preshared_key=0000000000000000000000000000000000000000000000000000000000000000
protocol_version=1
endpoint=182.122.22.19:3233
last_handshake_time_sec=1700000000
last_handshake_time_nsec=500000000
tx_bytes=38333
rx_bytes=2224
persistent_keepalive_interval=0
allowed_ip=192.168.4.6/32
allowed_ip=fd00::/64
errno=0

"""
KEY = "58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376"


def test_a_device_is_read_whole() -> None:
    code, device = read_answer(ANSWER.encode())
    plain, private = device.peers[1], NodePrivate(bytes.fromhex(ANSWER[12:76]))

    assert code == 0
    assert (device.private_key, device.port, device.mark) == (private, 12912, 0x80000)
    assert not device.peers[0].is_plain
    assert device.peers[0].last_handshake is None
    assert plain == PeerState(
        public_key=NodePublic(bytes.fromhex(KEY)),
        endpoint=Endpoint(ip_address("182.122.22.19"), 3233),
        last_handshake=1700000000.5,
        received=2224,
        sent=38333,
        allowed=frozenset({ip_network("192.168.4.6/32"), ip_network("fd00::/64")}),
    )


def test_a_new_device_has_no_key() -> None:
    device = DeviceState(private_key=None, port=0, mark=0)

    assert read_answer(f"private_key={'0' * 64}\nerrno=0\n\n".encode()) == (0, device)


def test_a_refusal_is_told_by_its_number() -> None:
    assert read_answer(b"errno=22\n\n")[0] == 22
    assert read_answer(b"errno=-98\n\n")[0] == 98


@pytest.mark.parametrize("length", range(0, len(ANSWER), 7))
def test_every_truncation_is_noticed(length: int) -> None:
    with pytest.raises(Malformed):
        read_answer(ANSWER[:length].encode())


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "unknown_key=1",
        "listen_port=65536",
        "listen_port=-1",
        "listen_port=0x1",
        "public_key=00",
        "public_key=" + "g" * 64,
        "endpoint=1.2.3.4",
        "endpoint=name.example:5",
        "allowed_ip=10.0.0.1/8",
        "allowed_ip=10.0.0.0/33",
        "last_handshake_time_nsec=1000000001",
        "errno=0",
        "",
    ],
)
def test_what_the_format_does_not_know_is_refused_and_named(line: str) -> None:
    broken = ANSWER.replace("errno=0\n", f"{line}\nerrno=0\n")

    with pytest.raises(Malformed, match="WireGuard"):
        read_answer(broken.encode())


def test_what_is_about_a_peer_needs_a_peer() -> None:
    with pytest.raises(Malformed, match="out of place"):
        read_answer(b"allowed_ip=10.0.0.0/8\nerrno=0\n\n")


@given(st.binary(max_size=200))
def test_noise_raises_malformed_and_nothing_else(noise: bytes) -> None:
    with pytest.raises(Malformed):
        read_answer(noise + b"\n\n")


@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 127))
def test_a_flipped_byte_is_refused_or_read(position: int, flip: int) -> None:
    changed = bytearray(ANSWER.encode())
    changed[position] ^= flip
    try:
        code, device = read_answer(bytes(changed))
    except Malformed:
        return

    assert code >= 0
    assert len(device.peers) <= 2


def test_one_transaction_has_everything_in_order() -> None:
    key = NodePublic(bytes.fromhex(KEY))
    text = write_set(
        DeviceUpdate(private_key=NodePrivate(bytes(31) + b"\1"), port=41641, mark=0x80000),
        [
            PeerUpdate(
                public_key=key,
                endpoint=Endpoint(ip_address("2001:db8::1"), 5),
                allowed=(ip_network("10.0.0.0/8"),),
                create=True,
            ),
            PeerUpdate(public_key=key, allowed=(ip_network("fd00::/64"),), replace=True),
            PeerUpdate(public_key=key, remove=True),
        ],
    ).decode()

    assert text == (
        f"set=1\nprivate_key={'0' * 62}01\nlisten_port=41641\nfwmark=524288\n"
        f"public_key={KEY}\npreshared_key={'0' * 64}\npersistent_keepalive_interval=0\n"
        "endpoint=[2001:db8::1]:5\nallowed_ip=10.0.0.0/8\n"
        f"public_key={KEY}\nupdate_only=true\nreplace_allowed_ips=true\nallowed_ip=fd00::/64\n"
        f"public_key={KEY}\nremove=true\n\n"
    )
