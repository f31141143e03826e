"""Three sites that are all 192.168.1.0/24 reach each other, by name and by address.

Each host is 192.168.1.2 and knows nothing of the mesh. 4via6 gives it an IPv6 address and a
name with its site's number.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from gatepost.model.via6 import via_name, via_prefix
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import (
    Kind,
    answer,
    approve,
    ask,
    await_answer,
    join,
    resolve_with,
    turn_on,
)
from gatepost.testing.scenes import Row, Tell, expect
from gatepost.testing.topology import Nat

SAME = IPv4Network("192.168.1.0/24")
SITES = {"a": 7, "b": 8, "c": 9}
NATS = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED, "c": Nat.PORT_RESTRICTED}
KINDS: tuple[Kind, ...] = ("tcp", "udp", "icmp")
NAMES_AT = "100.100.100.100"


def run(tell: Tell) -> Iterator[Row]:
    with ground(NATS, say=tell, lan=SAME) as lab:
        start(lab, say=tell)
        join(lab)
        tell(f"each box shares {SAME}, by 4via6 with its site's number")
        for name, box in lab.boxes.items():
            answer(box.site.host, f"host-{name}", str(box.site.host_v4))
            turn_on(box, "via6", site=SITES[name], networks=[str(SAME)])
            turn_on(box, "magic-dns")
            resolve_with(box.site.box, NAMES_AT, lab.directory)
        for name, box in lab.boxes.items():
            approve(lab, box, str(via_prefix(SITES[name], SAME)))
        yield from _by_via6(lab, tell)


def _by_via6(lab: Lab, tell: Tell) -> Iterator[Row]:
    for near in lab.sites:
        for far in (site for site in lab.sites if site is not near):
            tell(f"site {near.name} talks to site {far.name}")
            address = str(via_prefix(SITES[far.name], IPv4Network(far.host_v4))[0])
            await_answer(near.box, address, tuple(lab.boxes.values()))
            await_answer(near.host, address, tuple(lab.boxes.values()))
            yield from _talk(near.box, far.host, via_name(SITES[far.name], far.host_v4))
            yield from _talk(near.host, far.host, address)


def _talk(machine: Machine, host: Machine, to: str) -> Iterator[Row]:
    for kind in KINDS:
        wanted = "answered" if kind == "icmp" else host.name
        seen = ask(machine, kind, to)
        yield expect(f"{machine.name} -> {host.name} {kind} {to}", wanted, seen)
