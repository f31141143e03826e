"""Bring up a mesh: an internet with sites, the coordination server, and a box per site.

with Lab.bring_up(SITES, say=print) as lab:
    lab.boxes["a"].client.status()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

from gatepost.model.admin import KeyRequest, NodeDocument, NodeRequest, UserRequest
from gatepost.model.status import Status, UpRequest
from gatepost.testing.lab_boxes import (
    Box,
    Coordination,
    make_box,
    make_coordination,
    wait_for,
)
from gatepost.testing.lab_directory import lab_directory
from gatepost.testing.netns import Machines, machines
from gatepost.testing.topology import Nat, Site, Topology, build

USER = "lab"
JOIN_TIMEOUT = 30.0  # seconds

Say = Callable[[str], None]


def _say_nothing(_text: str) -> None:
    """Be quiet: the tests' lab."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab. `boxes` maps the name of a site to its box."""

    directory: Path
    owner: Machines
    topology: Topology
    coordination: Coordination
    boxes: Mapping[str, Box]

    @property
    def sites(self) -> tuple[Site, ...]:
        return self.topology.sites

    def key(self, *, reusable: bool = True) -> str:
        """Return the secret of a new pre-auth key."""
        return self.coordination.client.create_key(
            KeyRequest(user=USER, reusable=reusable, lifetime=3600.0)
        ).secret

    def join(self, names: Iterable[str], *, masquerade: bool = False) -> None:
        """Let boxes join and offer their LANs; wait until they run and the LANs are granted."""
        key = self.key()
        chosen = [self.boxes[name] for name in names]
        for box in chosen:
            lans = (str(box.site.lan_v4), str(box.site.lan_v6))
            box.client.up(
                UpRequest(
                    login_server=self.coordination.url,
                    auth_key=key,
                    hostname=box.name,
                    accept_routes=True,
                    advertise_routes=lans,
                    snat_subnet_routes=masquerade,
                )
            )
        for box in chosen:
            box.await_status(lambda status: status.state == "Running", "login", JOIN_TIMEOUT)
            self.approve(box)

    def approve(self, box: Box, *prefixes: str) -> None:
        """Grant all that a box offers, as soon as the server has heard of `prefixes`.

        Without `prefixes` it is the box's LAN that is waited for.
        """
        wanted = {*(prefixes or (str(box.site.lan_v4), str(box.site.lan_v6)))}

        def announced() -> NodeDocument | None:
            nodes = self.coordination.client.nodes()
            mine = next((n for n in nodes if n.name == box.name), None)
            return mine if mine and wanted <= set(mine.announced_routes) else None

        node = wait_for(
            announced,
            seconds=JOIN_TIMEOUT,
            otherwise=lambda: f"{box.name} did not announce {wanted}:\n{box.daemon.tail()}",
        )
        self.coordination.client.change_node(
            str(node.id), NodeRequest(approved_routes=node.announced_routes)
        )

    def await_mesh(self) -> None:
        """Wait until every box knows every other one and the way to its LAN."""
        for box in self.boxes.values():
            others = {str(site.lan_v4) for site in self.sites if site is not box.site}
            box.await_status(partial(_routes_to, others), "route to every other site")

    def log_tails(self) -> str:
        """Return the ends of all logs, for an error."""
        programs = [self.coordination.program, *(box.daemon for box in self.boxes.values())]
        return "\n".join(f"{p.log}:\n{p.tail()}" for p in programs)


def _routes_to(networks: set[str], status: Status) -> bool:
    return networks <= {route for peer in status.peers for route in peer.routes}


@contextlib.contextmanager
def ground(
    nats: Mapping[str, Nat],
    *,
    say: Say = _say_nothing,
    keep: bool = False,
    lan: IPv4Network | None = None,
) -> Generator[Lab]:
    """Build the machines and prepare the programs, none of which runs yet; remove all at the end.

    `keep` leaves the lab's directory with the logs; with `lan` all sites have that one network.
    """
    with lab_directory(keep=keep) as directory, machines() as owner:
        say(f"building an internet with {len(nats)} sites in network namespaces")
        topology = build(owner, dict(nats), lan)
        boxes = {site.name: make_box(site, directory) for site in topology.sites}
        coordination = make_coordination(topology.sites[0], directory)
        yield Lab(directory, owner, topology, coordination, boxes)


@contextlib.contextmanager
def bring_up(
    nats: Mapping[str, Nat],
    *,
    say: Say = _say_nothing,
    keep: bool = False,
    masquerade: bool = False,
) -> Generator[Lab]:
    """Have a mesh for the length of a block: all sites joined, all LANs granted."""
    with ground(nats, say=say, keep=keep) as lab:
        start(lab, say=say)
        say("joining the boxes with a key, each offers its LAN; granting the routes")
        lab.join(lab.boxes, masquerade=masquerade)
        lab.await_mesh()
        yield lab


def start(lab: Lab, *, say: Say = _say_nothing) -> None:
    """Start all programs and make the user."""
    say(f"starting the coordination server in {lab.coordination.site.box.name}")
    lab.coordination.program.start()
    say(f"starting the node daemons in {', '.join(box.name for box in lab.boxes.values())}")
    for box in lab.boxes.values():
        box.daemon.start()
    lab.coordination.await_answer()
    lab.coordination.client.create_user(UserRequest(name=USER))
    for box in lab.boxes.values():
        box.await_answer()
