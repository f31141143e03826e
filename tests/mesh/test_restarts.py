"""Programs die and come back; traffic does not notice."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import ping_pairs
from gatepost.testing.netns import Machine, patient
from gatepost.testing.topology import Site

pytestmark = [pytest.mark.root, pytest.mark.mesh]

PING_EVERY = "0.01"  # seconds; a hole of 10 ms is seen


@contextmanager
def lossless_traffic(source: Site, destination: Site) -> Generator[None]:
    """Ping for the length of the block; every packet must be answered."""
    command = ("ping", "-n", "-q", "-i", PING_EVERY, str(destination.host_v4))
    ping = source.host.start(*command, output=subprocess.PIPE)
    yield
    source.host.run("ping", "-q", "-c", "30", "-i", PING_EVERY, str(destination.host_v4))
    source.host.run("pkill", f"-{signal.SIGINT.value}", "-x", "ping")
    report = ping.communicate(timeout=patient(10))[0]
    sent, received = re.findall(r"(\d+) packets transmitted, (\d+) received", report)[0]

    assert int(sent) > 10, report
    assert int(sent) - int(received) <= 1, report  # the last may be under way


@contextmanager
def watched(machine: Machine) -> Generator[list[str]]:
    """Collect what changes in the kernel of a machine: links, addresses, routes, rules, filter.

    The list is complete when the block has ended.
    """
    seen = list[str]()
    watchers = [
        machine.start("stdbuf", "-oL", *command, output=subprocess.PIPE)
        for command in (
            ("ip", "-4", "monitor", "link", "address", "route", "rule"),
            ("ip", "-6", "monitor", "address", "route", "rule"),
            ("nft", "monitor"),
        )
    ]
    machine.run("sleep", "0.3")  # until they listen; neither says when
    yield seen
    machine.attempt("pkill", "-TERM", "-x", "ip|nft")  # a shell may have made them deaf to INT
    for watcher in watchers:
        seen += watcher.communicate(timeout=patient(5))[0].splitlines()


def await_connected(box: Box) -> None:
    box.await_status(lambda status: status.control_connected, "connection to the server", 60)


def test_boxes_go_on_while_the_server_is_dead_and_return_to_it(lab: Lab) -> None:
    server = lab.coordination
    with lossless_traffic(lab.sites[1], lab.sites[2]):
        server.program.signal("KILL")
        lab.boxes["b"].await_status(lambda status: not status.control_connected, "loss", 30)
        assert [pair for pair in ping_pairs(lab.sites, count=2) if not pair.works] == []
        server.program.start()
        server.await_answer()
        for box in lab.boxes.values():
            await_connected(box)
    names = {node.name for node in server.client.nodes()}

    assert names == {"box-a", "box-b", "box-c"}


def test_a_killed_daemon_drops_no_traffic_and_its_next_start_writes_nothing(lab: Lab) -> None:
    box = lab.boxes["b"]
    before = box.site.box.processes("wireguard-go")
    with lossless_traffic(lab.sites[1], lab.sites[2]), watched(box.site.box) as changes:
        box.daemon.signal("KILL")
        box.daemon.start()
        box.await_answer()
        await_connected(box)
        box.await_status(lambda status: status.state == "Running", "state Running")

    assert box.client.plan() == ()
    assert [c for c in changes if c.strip() and "neigh" not in c] == []
    assert box.site.box.processes("wireguard-go") == before


def test_a_box_starts_from_its_last_netmap_when_the_server_is_away(lab: Lab) -> None:
    """Even after a power cut of the box, when nothing of it is left in the kernel."""
    box, server = lab.boxes["c"], lab.coordination
    server.program.signal("KILL")
    try:
        box.daemon.signal("KILL")
        for program in box.site.box.processes("wireguard-go"):
            box.site.box.run("kill", "-KILL", str(program))
        box.site.box.attempt("ip", "link", "delete", "gatepost0")
        box.site.box.run("nft", "flush", "ruleset")
        box.daemon.start()
        box.await_answer()
        box.await_status(lambda status: status.netmap_stored, "stored netmap")
        wait_for(
            lambda: True if all(p.works for p in ping_pairs(lab.sites[1:], count=1)) else None,
            seconds=20,
            otherwise=lambda: f"{ping_pairs(lab.sites[1:], count=1)}\n{lab.log_tails()}",
        )
    finally:
        server.program.start()
        server.await_answer()
    await_connected(box)


def test_a_daemon_that_is_told_to_end_leaves_traffic_alone(lab: Lab) -> None:
    box = lab.boxes["a"]
    with lossless_traffic(lab.sites[0], lab.sites[1]):
        box.daemon.signal("TERM")
    box.daemon.start()
    box.await_answer()
    await_connected(box)
