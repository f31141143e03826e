"""Hosts of two sites see each other's real addresses, though the box is not their router.

At site b the hosts' router is another machine, which knows nothing of site a. The test of the
return path says so, IPv4 gets the one route that the box names, and IPv6 hosts learn theirs
from the box's advertisements. A network behind that router is reached, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.model.status import ReturnPathDocument
from gatepost.testing.lab_boxes import PROGRAMS, Box, wait_for
from gatepost.testing.lab_lan import Office, make_office
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.scene_lab import Kind, answer, ask, await_answer, turn_on
from gatepost.testing.scenes import Row, Tell, expect
from gatepost.testing.topology import Nat, Site

NATS = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED}
KINDS: tuple[Kind, ...] = ("tcp", "udp")
CHECK_SECONDS = 3.0
LEARN_SECONDS = 15.0  # until hosts have heard of a route; the first advertisements take six


def run(tell: Tell) -> Iterator[Row]:
    with ground(NATS, say=tell) as lab:
        a, b = lab.sites
        office = make_office(lab, b)
        start(lab, say=tell)
        tell("both boxes share their LAN, without masquerade")
        lab.join(lab.boxes, masquerade=False)
        lab.await_mesh()
        for site in lab.sites:
            for address in (site.host_v4, site.host_v6):
                answer(site.host, site.host.name, str(address))
        answer(office.deep, office.deep.name, str(office.deep_host))
        await_answer(a.host, str(b.lan_v4[1]), tuple(lab.boxes.values()))
        yield from _without_routes(lab, tell)
        yield from _with_the_one_route(lab, office, tell)
        yield from _announced(lab, tell)
        yield from _behind_the_router(lab, office, tell)


def _without_routes(lab: Lab, tell: Tell) -> Iterator[Row]:
    a, b = lab.sites
    tell(f"{b.host.name} sends its answers to its router, which knows no way to site a")
    yield expect(
        f"{a.host.name} -> {b.host.name} tcp", "TimeoutError", ask(a.host, "tcp", str(b.host_v4))
    )
    for target, network in ((str(b.host_v4), a.lan_v4), (str(b.host_v6), a.lan_v6)):
        found = lab.boxes["b"].client.return_path(target, CHECK_SECONDS)
        yield expect(f"test of the return path of {target}", "none", _way(found, str(network)))


def _with_the_one_route(lab: Lab, office: Office, tell: Tell) -> Iterator[Row]:
    a, b = lab.sites
    for line in _routes_for_a_router(lab.boxes["b"], b):
        tell(f"on {office.gate.name}: {line}")
        office.gate.run(*line.split())
    found = lab.boxes["b"].client.return_path(str(b.host_v4), CHECK_SECONDS)
    way = _way(found, str(a.lan_v4))
    yield Row(
        shown=f"test of the return path of {b.host_v4}",
        expected="router or host",  # once the router has told it the shorter way
        seen=way,
        ok=way in {"router", "host"},
    )
    yield from _both_ways(a, b, str(a.host_v4), str(b.host_v4))


def _announced(lab: Lab, tell: Tell) -> Iterator[Row]:
    a, b = lab.sites
    box = lab.boxes["b"]
    tell("the box of site b announces routes on its LAN")
    turn_on(box, "site-to-site", announce_on=["lan0"])
    _await_route(b, str(a.lan_v6), there=True)
    default = b.host.run("ip", "-6", "route", "show", "default").strip() or "no default route"
    yield expect(f"{b.host.name} learned {a.lan_v6}", "no default route", default)
    found = box.client.return_path(str(b.host_v6), CHECK_SECONDS)
    yield expect(f"test of the return path of {b.host_v6}", "host", _way(found, str(a.lan_v6)))
    yield from _both_ways(a, b, str(a.host_v6), str(b.host_v6))
    tell("the box takes its routes back")
    turn_on(box, "site-to-site", announce_on=[])
    _await_route(b, str(a.lan_v6), there=False)
    left = b.host.run("ip", "-6", "route", "show", str(a.lan_v6)).strip() or "forgotten"
    yield expect(f"{b.host.name} and {a.lan_v6}, taken back", "forgotten", left)


def _behind_the_router(lab: Lab, office: Office, tell: Tell) -> Iterator[Row]:
    a, _ = lab.sites
    box = lab.boxes["b"]
    tell(f"the box of site b shares {office.deep_v4}, which is behind {office.gate.name}")
    turn_on(box, "site-to-site", behind=[f"{office.deep_v4} via {office.gate_v4}"])
    lab.approve(box, str(office.deep_v4))
    await_answer(a.host, str(office.deep_host), (box,))
    for kind in KINDS:
        seen = ask(a.host, kind, str(office.deep_host), sees=True)
        wanted = f"{office.deep.name} sees {a.host_v4}"
        yield expect(f"{a.host.name} -> {office.deep.name} {kind}", wanted, seen)


def _both_ways(a: Site, b: Site, a_address: str, b_address: str) -> Iterator[Row]:
    for near, far, source, to in ((a, b, a_address, b_address), (b, a, b_address, a_address)):
        for kind in KINDS:
            seen = ask(near.host, kind, to, sees=True)
            wanted = f"{far.host.name} sees {source}"
            yield expect(f"{near.host.name} -> {far.host.name} {kind} {to}", wanted, seen)


def _way(found: ReturnPathDocument, network: str) -> str:
    """Return how answers to a network come back, "dead" if the host answers nobody."""
    if not found.alive:
        return "dead"
    return next((r.answer for r in found.results if r.network == network), f"not asked: {network}")


def _routes_for_a_router(box: Box, site: Site) -> list[str]:
    """Return the commands that the box itself proposes for its LAN's router."""
    words = ("--socket", str(box.socket), "site-to-site", "routes", "--for", "linux")
    shown = box.site.box.run(str(PROGRAMS / "gatepost"), *words).splitlines()
    return [line for line in shown if f"via {site.lan_v4[1]}" in line]


def _await_route(site: Site, network: str, *, there: bool) -> None:
    def look() -> bool | None:
        shown = site.host.run("ip", "-6", "route", "show", network)
        return True if ("via fe80:" in shown) == there else None

    wait_for(
        look,
        seconds=LEARN_SECONDS,
        otherwise=lambda: (
            f"{site.host.name}: {network} {'not learned' if there else 'still there'}"
        ),
    )
