"""A WireGuard provider in the lab's internet, as people rent one: not ours, and it knows nobody.

    exit box ══wg══ provider 198.51.100.250 ─── internet
                    inside 10.5.0.1, fd05::1, also its name server

It masquerades, and answers every question for an address with `ANSWER`.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.keys import NodePrivate, PresharedKey
from gatepost.testing.by_hand import kernel_has_wireguard
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import LabError, Machine, connect

PUBLIC_V4, PUBLIC_V6 = IPv4Address("198.51.100.250"), IPv6Address("2001:db8:ffff:ee::2")
RESOLVER = IPv4Address("10.5.0.1")
ANSWER = IPv4Address("192.0.2.77")  # whatever name is asked for
_PORT = 51820
_LINK = "provider"

# Answers every question with one address, at every address of this machine.
_NAMES = """
import socket, struct, sys
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); server.bind(("::", 53))
print("up", flush=True)
while True:
    query, sender = server.recvfrom(4096)
    end = query.index(b"\\0", 12) + 5
    kind = struct.unpack("!H", query[end - 4:end - 2])[0]
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(kind == 1), 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(sys.argv[1])
    server.sendto(head + query[12:end] + (record if kind == 1 else b""), sender)
"""


@dataclass(frozen=True, slots=True)
class LabProvider:
    """A running provider; `file` is what it gives its customer."""

    machine: Machine
    file: str

    def stop(self) -> None:
        """Answer nobody any more, as a server that is gone."""
        self.machine.ip("link set wg0 down")

    def start(self) -> None:
        # An interface that goes down loses its IPv6 addresses.
        self.machine.ip("link set wg0 up", "address replace fd05::1/64 dev wg0")


def make_provider(lab: Lab) -> LabProvider:
    """Plug a provider into the internet and start it."""
    (machine,) = lab.owner.add("provider")
    _plug_in(lab.topology.internet, machine)
    theirs, ours = NodePrivate(secrets.token_bytes(32)), NodePrivate(secrets.token_bytes(32))
    shared = PresharedKey(secrets.token_bytes(32))
    if kernel_has_wireguard(machine):
        machine.ip("link add wg0 type wireguard")
    else:
        machine.run("wireguard-go", "wg0")
    settings = f"""\
[Interface]
PrivateKey = {_text(theirs.raw)}
ListenPort = {_PORT}
[Peer]
PublicKey = {ours.public.base64}
PresharedKey = {_text(shared.raw)}
AllowedIPs = 10.5.0.2/32, fd05::2/128
"""
    machine.run("wg", "setconf", "wg0", "/dev/stdin", stdin=settings)
    machine.ip(
        f"address add {RESOLVER}/24 dev wg0",
        "address add fd05::1/64 dev wg0",
        "link set wg0 up",
    )
    machine.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    machine.nft(
        "table inet nat { chain out { type nat hook postrouting priority srcnat;"
        ' oifname "wan0" masquerade; }; }'
    )
    names = machine.start("/usr/bin/python3", "-c", _NAMES, str(ANSWER), output=subprocess.PIPE)
    if not names.stdout or names.stdout.readline() != "up\n":
        raise LabError("the provider's name server does not start")
    return LabProvider(machine, _file(ours, theirs, shared))


def _plug_in(internet: Machine, machine: Machine) -> None:
    connect(internet, _LINK, machine, "wan0")
    gateway_v4, gateway_v6 = PUBLIC_V4 - 1, PUBLIC_V6 - 1
    internet.ip(
        f"address add {gateway_v4}/30 dev {_LINK}", f"address add {gateway_v6}/64 dev {_LINK}"
    )
    machine.ip(
        f"address add {PUBLIC_V4}/30 dev wan0",
        f"address add {PUBLIC_V6}/64 dev wan0",
        f"route add default via {gateway_v4}",
        f"route add default via {gateway_v6}",
    )


def _file(ours: NodePrivate, theirs: NodePrivate, shared: PresharedKey) -> str:
    return f"""\
[Interface]
# The customer's end
PrivateKey = {_text(ours.raw)}
Address = 10.5.0.2/32, fd05::2/128
DNS = {RESOLVER}

[Peer]
PublicKey = {theirs.public.base64}
PresharedKey = {_text(shared.raw)}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = {PUBLIC_V4}:{_PORT}
PersistentKeepalive = 25
"""


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
