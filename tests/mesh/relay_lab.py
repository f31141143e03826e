"""A lab in which boxes cannot reach each other directly, and a relay stands outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from functools import partial
from ipaddress import ip_address

from gatepost.model.owned import RELAY_NETWORK, RELAY_NETWORK_V6, RELAY_PORT
from gatepost.model.status import Status
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import HUB, drop_ipv6, join, offer_relay, path_to

SETTLING = 20.0  # seconds until the boxes have chosen their path
HARD = {"one": Nat.SYMMETRIC, "two": Nat.SYMMETRIC}


@contextlib.contextmanager
def relay_lab(
    nats: Mapping[str, Nat] = HARD,
    *,
    relay: bool = True,
    prepare: Callable[[Lab], None] = lambda _: None,
    keep: bool = False,
) -> Generator[Lab]:
    """Have joined boxes behind `nats`, and, with `relay`, one at the hub that relays for them.

    `prepare` is called before the first program starts.
    """
    with ground({HUB: Nat.NONE, **nats}, keep=keep) as lab:
        for site in lab.sites:
            if site.name != HUB:
                drop_ipv6(site)
        prepare(lab)
        start(lab)
        join(lab)
        if relay:
            offer_relay(lab)
        yield lab


def await_path(lab: Lab, path: str, seconds: float = SETTLING) -> None:
    """Wait until both boxes reach each other by that kind of path."""
    one, two = lab.boxes["one"], lab.boxes["two"]
    for box, far in ((one, two), (two, one)):
        box.await_status(partial(_reaches_by, path, far.name), path, seconds)


def await_kernel(lab: Lab) -> None:
    """Wait until WireGuard itself sends to the relay on both boxes."""
    boxes = [lab.boxes["one"], lab.boxes["two"]]
    wait_for(
        lambda: True if all(map(has_stand_in, boxes)) else None,
        seconds=SETTLING,
        otherwise=lambda: f"WireGuard sends to {[endpoints(b) for b in boxes]}",
    )


def endpoints(box: Box) -> list[str]:
    """Return where WireGuard sends to, per peer."""
    lines = box.site.box.run("wg", "show", "gatepost0", "endpoints").splitlines()
    return [line.split()[1] for line in lines]


def has_stand_in(box: Box) -> bool:
    """Say whether WireGuard sends to some place at a relay."""
    return any(map(_is_stand_in, endpoints(box)))


def _is_stand_in(endpoint: str) -> bool:
    text, _, port = endpoint.rpartition(":")
    if port != str(RELAY_PORT):
        return False
    address = ip_address(text.strip("[]"))
    return address in (RELAY_NETWORK if address.version == 4 else RELAY_NETWORK_V6)


def _reaches_by(path: str, far: str, status: Status) -> bool:
    return path_to(status, far)[0] == path
