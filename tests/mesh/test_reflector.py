"""Hosts of two sites find each other's services, if the policy says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from gatepost.model.policy import PolicyRequest
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import turn_on
from gatepost.wire.reflected import CAPABILITY

pytestmark = [pytest.mark.root, pytest.mark.mesh]

OPEN = {"action": "accept", "src": ["*"], "dst": ["*:*"]}
QUESTION = "000000000001000000000000055f68747470045f746370056c6f63616c00000c0001"
# Answers mDNS of both versions and SSDP searches as devices do.
DEVICE = """
import select, socket, struct
index = socket.if_nametoindex("eth0")
mreq = bytes(4) + struct.pack("@i", index)
def v4(group, port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("", port))
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + mreq)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + mreq[4:])
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    return made
mdns, ssdp = v4("224.0.0.251", 5353), v4("239.255.255.250", 1900)
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
six.bind(("::", 5353))
group = socket.inet_pton(socket.AF_INET6, "ff02::fb") + struct.pack("@I", index)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
print("up", flush=True)
while True:
    for one in select.select([mdns, six, ssdp], [], [])[0]:
        text, sender = one.recvfrom(9000)
        if one is ssdp and text.startswith(b"M-SEARCH"):
            one.sendto(b"HTTP/1.1 200 OK\\r\\nUSN: printer\\r\\n\\r\\n", sender)
        elif one is mdns and not text[2] & 0x80:
            one.sendto(text[:2] + b"\\x84" + text[3:] + b"printer", ("224.0.0.251", 5353))
        elif one is six and not text[2] & 0x80:
            one.sendto(text[:2] + b"\\x84" + text[3:] + b"printer6", ("ff02::fb", 5353))
"""
# Asks in one of the three ways and prints whether a printer answered.
SEEK = """
import socket, struct, sys, time
how, question = sys.argv[1], bytes.fromhex(sys.argv[2])
index = socket.if_nametoindex("eth0")
mreq = bytes(4) + struct.pack("@i", index)
if how == "six":
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(("::", 5353))
    group = socket.inet_pton(socket.AF_INET6, "ff02::fb") + struct.pack("@I", index)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    to = ("ff02::fb", 5353)
else:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + mreq[4:])
    to = ("239.255.255.250", 1900)
    if how == "four":
        to = ("224.0.0.251", 5353)
        one.bind(("", 5353))
        group = socket.inet_aton(to[0]) + mreq
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
one.sendto(question, to)
end = time.monotonic() + 2
found = ""
while time.monotonic() < end and not found:
    one.settimeout(max(end - time.monotonic(), 0.01))
    try:
        text = one.recv(9000)
    except TimeoutError:
        break
    found = "printer6" if b"printer6" in text else "printer" if b"printer" in text else ""
print(found or "nobody")
"""
SEARCH = b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'.hex()
WAYS = {"four": (QUESTION, "printer"), "six": (QUESTION, "printer6"), "ssdp": (SEARCH, "printer")}


def seek(machine: Machine, how: str) -> str:
    """Ask as a host does; each question is another, as a repeated one may be taken for a loop."""
    return machine.run("/usr/bin/python3", "-c", SEEK, how, WAYS[how][0], timeout=30.0).strip()


@pytest.fixture(scope="module")
def sites(lab: Lab) -> Iterator[Lab]:
    """Let the boxes of sites a and b tell each other, and put a device into site b."""
    for here, there in (("a", "b"), ("b", "a")):
        turn_on(lab.boxes[here], "reflector", links=["lan0"], sites=[f"box-{there}"])
    host = lab.topology.site("b").host
    device = host.start("/usr/bin/python3", "-c", DEVICE, output=subprocess.PIPE)
    assert device.stdout
    assert device.stdout.readline() == "up\n"
    yield lab
    lab.coordination.client.set_policy(PolicyRequest(text=json.dumps({"acls": [OPEN]})))


def allow(lab: Lab) -> None:
    grant: dict[str, object] = {"src": ["*"], "dst": ["*"], "app": {CAPABILITY: [{}]}}
    text = json.dumps({"acls": [OPEN], "grants": [grant]})
    lab.coordination.client.set_policy(PolicyRequest(text=text))


def test_without_a_grant_nothing_is_heard_of_another_site(sites: Lab) -> None:
    for box in ("a", "b"):
        sites.boxes[box].await_status(
            lambda s: any(n.code == "reflector-unused" for n in s.notices), "notice"
        )
    host = sites.topology.site("a").host

    assert [seek(host, how) for how in WAYS] == ["nobody"] * 3


@pytest.mark.parametrize("how", WAYS)
def test_with_one_a_device_of_the_other_site_is_found(sites: Lab, how: str) -> None:
    allow(sites)
    host = sites.topology.site("a").host

    wait_for(
        lambda: True if seek(host, how) == WAYS[how][1] else None,
        seconds=25,
        otherwise=lambda: f"{how}: no device is found\n{sites.log_tails()}",
    )


def test_a_site_that_was_not_chosen_hears_nothing(sites: Lab) -> None:
    allow(sites)

    assert seek(sites.topology.site("c").host, "four") == "nobody"
