"""Applications on the internet that are reached by name through one box, and how fast.

Box a asks for names as usual. For those that the policy calls apps it asks box b, the
connector, by HTTP inside the tunnel, and what b learns becomes routes through b.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

import msgspec

from gatepost.model.policy import PolicyRequest
from gatepost.model.status import UpRequest
from gatepost.testing.app_internet import NAME_SERVER, AppInternet
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import JOIN_TIMEOUT, Lab, ground, start
from gatepost.testing.netns import patient
from gatepost.testing.scene_lab import turn_on
from gatepost.testing.scenes import Row, Tell, at_most, expect
from gatepost.testing.topology import Nat

NATS = {"a": Nat.NONE, "b": Nat.NONE, "c": Nat.NONE}
RESOLVER = "100.100.100.100"
PRESET = "203.0.113.128/28"
SOON = 0.2  # seconds from a question to its route, on a machine with nothing else to do
MOST_BUSY = 10.0  # times as long at most, however much else the machine does
MOST_OF_NAME = 64  # addresses of one name that may become routes
BIG_NAME = "big.example"
BIG = tuple(str(IPv4Address("20.1.0.1") + n) for n in range(5000))
NAMES = {
    "wiki.example": ("203.0.113.80", "2001:db8:80::1"),
    "shop.example": ("cdn.other.example",),
    "cdn.other.example": ("203.0.113.81",),
    "one.apps.example": ("203.0.113.82",),
    "two.apps.example": ("203.0.113.83",),
    "slow.apps.example": ("203.0.113.84",),
    "late.apps.example": ("203.0.113.85",),
    "lie.apps.example": ("10.2.0.2",),
    "preset.example": ("203.0.113.130",),
    "elsewhere.example": ("203.0.113.99",),
}
MORE = {f"n{n}.apps.example": (f"203.0.113.{100 + n}",) for n in range(7)}
POLICY = {
    "tagOwners": {"tag:connector": ["autogroup:admin"], "tag:guest": ["autogroup:admin"]},
    "acls": [
        {"action": "accept", "src": ["autogroup:owner"], "dst": ["autogroup:internet:*"]},
        {"action": "accept", "src": ["tag:guest"], "dst": ["tag:connector:443"]},
    ],
    "nodeAttrs": [
        {
            "target": ["*"],
            "app": {
                "tailscale.com/app-connectors": [
                    {
                        "name": "apps",
                        "connectors": ["tag:connector"],
                        "domains": ["wiki.example", "shop.example", "*.apps.example", BIG_NAME],
                        "routes": [PRESET],
                    }
                ]
            },
        }
    ],
    "autoApprovers": {
        "routes": {"0.0.0.0/0": ["tag:connector"], "::/0": ["tag:connector"]},
    },
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The lab, the user's box, the connector, a guest's box, and the internet's servers."""

    lab: Lab
    user: Box
    connector: Box
    guest: Box
    internet: AppInternet


def run(tell: Tell) -> Iterator[Row]:
    with ground(NATS, say=tell) as lab:
        stage = _build(lab, tell)
        tell("asking for the names of apps, and going where they lead")
        yield from _by_name(stage)
        yield from _others(stage)
        tell("killing the connector's daemon")
        yield from _restart(stage)
        tell("asking 100 times for a name with 5,000 addresses")
        yield from _flood(stage)
        tell("letting the connector's name server lie, crawl and die")
        yield from _bad_days(stage)


def _build(lab: Lab, tell: Tell) -> Stage:
    internet = AppInternet(lab.topology.internet, lab.directory / "zone.json")
    internet.start({**NAMES, **MORE})
    internet.tell({BIG_NAME: BIG})
    start(lab, say=tell)
    boxes = lab.boxes
    text = msgspec.json.encode(POLICY).decode()
    lab.coordination.client.set_policy(PolicyRequest(text=text))
    tell("joining: box a uses apps, box b is their connector, box c is a guest without a right")
    _join(lab, boxes["a"], ())
    _join(lab, boxes["b"], ("tag:connector",))
    _join(lab, boxes["c"], ("tag:guest",))
    # The addresses of documentation, which the lab has, count as private.
    plain = {"accept_dns": False, "refuse_private": False}
    turn_on(boxes["b"], "magic-dns", resolvers=[NAME_SERVER], **plain)
    turn_on(boxes["b"], "app-connector")
    for name in ("a", "c"):
        turn_on(boxes[name], "magic-dns", resolvers=[NAME_SERVER], **plain)
    stage = Stage(lab, boxes["a"], boxes["b"], boxes["c"], internet)
    wait_for(
        lambda: True if _has_route(stage.user, "203.0.113.130") else None,
        seconds=JOIN_TIMEOUT,
        otherwise=lambda: f"box-a has no route {PRESET}:\n{stage.connector.daemon.tail()}",
    )
    return stage


def _join(lab: Lab, box: Box, tags: tuple[str, ...]) -> None:
    box.client.up(
        UpRequest(
            login_server=lab.coordination.url,
            auth_key=lab.key(),
            hostname=box.name,
            accept_routes=True,
            advertise_tags=tags,
        )
    )
    box.await_status(lambda status: status.state == "Running", "login", JOIN_TIMEOUT)


# --- rows ---------------------------------------------------------------------------------


def _by_name(stage: Stage) -> Iterator[Row]:
    v4, v6 = (str(a) for a in (stage.connector.site.public_v4, stage.connector.site.public_v6))
    took = list[float]()
    for name, kind, where, seen_as in (
        ("wiki.example", "A", "203.0.113.80", v4),
        ("wiki.example", "AAAA", "2001:db8:80::1", v6),
        ("shop.example", "A", "203.0.113.81", v4),
        ("one.apps.example", "A", "203.0.113.82", v4),
    ):
        began = time.monotonic()
        answer = dig(stage.user, name, kind)
        yield expect(f"{name} {kind} at box a", where, answer[-1] if answer else "nothing")
        took.append(_until_route(stage.user, where, began))
        seen = stage.internet.ask_web(stage.user.site.box, where)
        yield expect(f"the web host at {where} sees", seen_as, seen)
    for name, (where,) in MORE.items():
        began = time.monotonic()
        dig(stage.user, name)
        took.append(_until_route(stage.user, where, began))
    busy = _busyness()
    shown = f"from a question to its route, median of {len(took)}"
    if busy > 1:
        shown += f" ({SOON:g} s on an idle machine, times {busy:.1f} on this one)"
    yield at_most(shown, patient(SOON) * busy, statistics.median(took), "s")
    seen = stage.internet.ask_web(stage.user.site.box, "203.0.113.130")
    yield expect(f"through the preset route {PRESET} a web host sees", v4, seen)


def _busyness() -> float:
    """Return how many processes want each processor of this machine, from 1 to MOST_BUSY."""
    return min(MOST_BUSY, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def _others(stage: Stage) -> Iterator[Row]:
    own = str(stage.user.site.public_v4)
    yield expect("a name that is no app's", ["203.0.113.99"], dig(stage.user, "elsewhere.example"))
    seen = stage.internet.ask_web(stage.user.site.box, "203.0.113.99")
    yield expect("its web host sees box a itself", own, seen)
    there = "routes" if _has_route(stage.guest, "203.0.113.80") else "no route"
    yield expect("box c, which the policy gives nothing, has", "no route", there)
    seen = stage.internet.ask_web(stage.guest.site.box, "203.0.113.80")
    yield expect("the app sees box c itself", str(stage.guest.site.public_v4), seen)


def _restart(stage: Stage) -> Iterator[Row]:
    stage.connector.daemon.signal("KILL")
    seen = stage.internet.ask_web(stage.user.site.box, "203.0.113.80")
    v4 = str(stage.connector.site.public_v4)
    yield expect("while the connector's daemon is away, the app sees", v4, seen)
    stage.connector.daemon.start()
    stage.connector.await_answer()
    lost = 0
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        lost += not _has_route(stage.user, "203.0.113.80")
        time.sleep(0.1)
    yield expect("looks at box a without the route, in 5 s after its start", 0, lost)
    seen = stage.internet.ask_web(stage.user.site.box, "203.0.113.80")
    yield expect("then the app sees", v4, seen)


def _flood(stage: Stage) -> Iterator[Row]:
    told = set[str]()
    for _ in range(100):
        told.update(dig(stage.user, BIG_NAME))
    routed = {a for a in told if _has_route(stage.user, a)}
    yield at_most("different addresses that box a was told", MOST_OF_NAME, len(told), "addresses")
    yield expect("of those, addresses without a route", 0, len(told - routed))
    announced = len(stage.connector.client.status().routes.advertised)
    yield at_most("routes of the connector", 2 * MOST_OF_NAME, announced, "routes")


def _bad_days(stage: Stage) -> Iterator[Row]:
    answer = dig(stage.user, "lie.apps.example")
    yield expect("a name that leads into the connector's LAN", [], answer)
    stage.internet.slow("slow.apps.example", 3.0)
    crawling = stage.user.site.box.start(*_dig(RESOLVER, "slow.apps.example", "A"))
    began = time.monotonic()
    answer = dig(stage.user, "two.apps.example")
    took = time.monotonic() - began
    yield expect("another name while the name server crawls", ["203.0.113.83"], answer)
    yield at_most("and it takes", patient(1.0), took, "s")
    crawling.wait(timeout=patient(10.0))
    stage.internet.kill()
    began = time.monotonic()
    answer = dig(stage.user, "late.apps.example")
    yield expect("a new name while the name server is dead", [], answer)
    yield at_most("and saying so takes", patient(8.0), time.monotonic() - began, "s")
    seen = stage.internet.ask_web(stage.user.site.box, "203.0.113.82")
    v4 = str(stage.connector.site.public_v4)
    yield expect("what was learned still works: the web host sees", v4, seen)
    stage.internet.revive()
    answer = dig(stage.user, "late.apps.example")
    yield expect("the name when the name server is back", ["203.0.113.85"], answer)


# --- how ----------------------------------------------------------------------------------


def _dig(server: str, name: str, kind: str) -> tuple[str, ...]:
    return ("dig", f"@{server}", "+short", "+time=8", "+tries=1", name, kind)


def dig(box: Box, name: str, kind: str = "A") -> list[str]:
    """Return the addresses that a box is told."""
    text = box.site.box.attempt(*_dig(RESOLVER, name, kind)).stdout
    return [line for line in text.split() if _is_address(line)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _has_route(box: Box, address: str) -> bool:
    """Say whether a box sends what goes to an address into the mesh."""
    found = box.site.box.attempt("ip", "route", "get", address).stdout
    return "gatepost0" in found


def _until_route(box: Box, address: str, began: float) -> float:
    """Return the seconds from `began` until the box has the route."""
    wait_for(
        lambda: True if _has_route(box, address) else None,
        seconds=10.0,
        otherwise=lambda: f"{box.name} has no route to {address}:\n{box.daemon.tail()}",
    )
    return time.monotonic() - began
