"""Three sites that are all 192.168.1.0/24 reach each other, by name and by address.

Each host is 192.168.1.2 and knows nothing of the mesh. 4via6 gives it an IPv6 address and a
name with its site's number; an alias gives it an IPv4 address; and its site's own name for it
leads there from everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from gatepost.model.admin_names import NamesRequest
from gatepost.model.via6 import via_name, via_prefix
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import (
    Kind,
    answer,
    answer_names,
    ask,
    await_answer,
    join,
    look_up,
    resolve_with,
    turn_on,
)
from gatepost.testing.scenes import Row, Tell, expect
from gatepost.testing.topology import Nat, Site

SAME = IPv4Network("192.168.1.0/24")
NUMBERS = {"a": 7, "b": 8, "c": 9}
NATS = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED, "c": Nat.PORT_RESTRICTED}
KINDS: tuple[Kind, ...] = ("tcp", "udp", "icmp")
NAMES_AT = "100.100.100.100"


@dataclass(frozen=True, slots=True)
class Place:
    """A site, and what stands for its host 192.168.1.2 in the mesh."""

    site: Site
    box: Box

    @property
    def number(self) -> int:
        return NUMBERS[self.site.name]

    @property
    def via(self) -> str:
        return str(via_prefix(self.number, IPv4Network(self.site.host_v4))[0])

    @property
    def alias_network(self) -> IPv4Network:
        return IPv4Network(f"10.201.{self.number}.0/24")

    @property
    def alias(self) -> str:
        return str(self.alias_network[int(self.site.host_v4) - int(SAME[0])])

    @property
    def domain(self) -> str:
        return f"site-{self.site.name}.example"

    @property
    def printer(self) -> str:
        """What its own name server calls the host."""
        return f"printer.{self.domain}"


def run(tell: Tell) -> Iterator[Row]:
    with ground(NATS, say=tell, lan=SAME) as lab:
        start(lab, say=tell)
        join(lab)
        places = [Place(box.site, box) for box in lab.boxes.values()]
        tell(f"each box shares {SAME}, by 4via6 with its site's number and by an alias")
        for place in places:
            _share(lab, place)
        for place in places:
            lab.approve(place.box, str(via_prefix(place.number, SAME)), str(place.alias_network))
        tell("the coordination server sends questions about a site's names to its box")
        _split(lab, places)
        for near in places:
            for far in (place for place in places if place is not near):
                tell(f"site {near.site.name} talks to site {far.site.name}")
                yield from _talk_to(near.site, far, lab)
                yield from _names(near.site, far)
        for place in places:
            yield from _at_home(place)


def _at_home(place: Place) -> Iterator[Row]:
    """Show that nothing changed at the site itself."""
    own, box = str(place.site.host_v4), place.box
    yield expect(f"{box.name} -> {own}", place.site.host.name, ask(place.site.box, "tcp", own))
    found = look_up(place.site.box, NAMES_AT, place.printer, "A")
    yield expect(f"{box.name} asks for {place.printer} A", own, found)


def _share(lab: Lab, place: Place) -> None:
    site, box = place.site, place.box
    answer(site.host, site.host.name, str(site.host_v4))
    answer_names(site.host, str(site.host_v4), place.printer, str(site.host_v4))
    turn_on(box, "via6", site=place.number, networks=[str(SAME)])
    turn_on(
        box,
        "alias",
        networks=[f"{place.alias_network}={SAME}"],
        masquerade=False,
        domains=[place.domain],
        name_servers=[str(site.host_v4)],
    )
    turn_on(box, "magic-dns", accept_dns=False)
    turn_on(box, "lan-dns")
    resolve_with(site.box, NAMES_AT, lab.directory)
    resolve_with(site.host, str(site.lan_v4[1]), lab.directory)


def _talk_to(near: Site, far: Place, lab: Lab) -> Iterator[Row]:
    """Show the way from the box by name, and from a host, which has no part in the mesh."""
    for machine in (near.box, near.host):
        for address in (far.via, far.alias):
            await_answer(machine, address, tuple(lab.boxes.values()))
    yield from _talk(near.box, far.site.host, via_name(far.number, far.site.host_v4))
    for address in (far.via, far.alias):
        yield from _talk(near.host, far.site.host, address)
    seen = ask(near.host, "udp", far.alias, sees=True)
    mine = Place(near, lab.boxes[near.name])
    yield expect(
        f"{far.site.host.name} sees {near.host.name} as",
        f"{far.site.host.name} sees {mine.alias}",
        seen,
    )


def _talk(machine: Machine, host: Machine, to: str) -> Iterator[Row]:
    for kind in KINDS:
        wanted = "answered" if kind == "icmp" else host.name
        seen = ask(machine, kind, to)
        yield expect(f"{machine.name} -> {host.name} {kind} {to}", wanted, seen)


def _names(near: Site, far: Place) -> Iterator[Row]:
    """Ask for what the far site's own name server calls the host, and go there by that name."""
    for kind, wanted in (("A", far.alias), ("AAAA", far.via)):
        found = look_up(near.box, NAMES_AT, far.printer, kind)
        yield expect(f"{near.box.name} asks for {far.printer} {kind}", wanted, found)
    for machine in (near.box, near.host):
        yield from _talk(machine, far.site.host, far.printer)


def _split(lab: Lab, places: list[Place]) -> None:
    """Let every node ask a site's box for the site's names, and wait until all do."""
    routes = {place.domain: (_mesh_address(place.box),) for place in places}
    lab.coordination.client.change_names(NamesRequest(routes={**routes}))
    for near in places:
        for far in places:
            _await_name(near, far)


def _await_name(near: Place, far: Place) -> None:
    wait_for(
        lambda: look_up(near.site.box, NAMES_AT, far.printer, "A")[:1].isdigit() or None,
        seconds=20,
        otherwise=lambda: f"{near.box.name} does not find {far.printer}:\n{near.box.daemon.tail()}",
    )


def _mesh_address(box: Box) -> str:
    return wait_for(
        lambda: node.addresses[0].partition("/")[0] if (node := box.client.status().node) else None,
        seconds=10,
        otherwise=lambda: f"{box.name} has no address in the mesh",
    )
