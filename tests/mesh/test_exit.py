"""Packets for the internet leave through the exit node that was chosen.

That they never leave another way is shown by the scene `exit` and by `testing.exit_flaps`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.mesh.test_subnets import ASK, PORT, WHO

from gatepost.model import owned
from gatepost.model.admin import NodeRequest
from gatepost.model.status import PluginRequest, UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.netns import Machine
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Nat

pytestmark = [pytest.mark.root, pytest.mark.mesh]

EXITS = {"0.0.0.0/0", "::/0"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Return a mesh whose box b is an exit node that was approved; nobody uses it yet."""
    with bring_up({"a": Nat.NONE, "b": Nat.NONE, "c": Nat.NONE}) as made:
        offer = made.boxes["b"]
        offer.client.change_settings(UpRequest(advertise_exit_node=True))
        client = made.coordination.client

        def announced() -> tuple[str, tuple[str, ...]] | None:
            node = next(n for n in client.nodes() if n.name == offer.name)
            known = set(node.announced_routes) >= EXITS
            return (str(node.id), node.announced_routes) if known else None

        node, routes = wait_for(announced, seconds=10, otherwise=offer.daemon.tail)
        client.change_node(node, NodeRequest(approved_routes=routes))
        made.boxes["c"].await_status(
            lambda s: any(set(p.routes) >= EXITS for p in s.peers), "an exit node among the peers"
        )
        yield made


@pytest.fixture
def user(lab: Lab) -> Iterator[Box]:
    """Return box c, going out through b until the test ends."""
    box = lab.boxes["c"]
    use(box, lab.boxes["b"].name)
    yield box
    use(box, "")


def use(box: Box, name: str) -> None:
    """Choose an exit node and wait until new connections go there: the rules come last."""
    box.client.change_settings(UpRequest(exit_node=name))

    def is_so() -> bool | None:
        ways = f"lookup {owned.EXIT_TABLE} " in box.site.box.run("ip", "-6", "rule")
        return True if bool(name) == has_guard(box.site.box) == ways else None

    wait_for(is_so, seconds=5, otherwise=box.daemon.tail)


def has_guard(machine: Machine) -> bool:
    return machine.attempt("nft", "list", "table", "inet", owned.NFT_GUARD_TABLE).returncode == 0


def seen_outside(lab: Lab, source: Machine, version: int) -> str:
    """Return the address that a server in the internet sees."""
    target = str(INTERNET_V4 if version == 4 else INTERNET_V6)
    family = {4: "2", 6: "10"}[version]  # AF_INET, AF_INET6
    server = lab.topology.internet.start(
        "/usr/bin/python3", "-c", WHO, target, PORT, family, output=subprocess.PIPE
    )
    assert server.stdout
    assert server.stdout.readline() == "up\n"
    seen = source.run("/usr/bin/python3", "-c", ASK, target, PORT).strip()
    server.wait(timeout=5)
    return seen


def public(box: Box, version: int) -> str:
    return str(box.site.public_v4 if version == 4 else box.site.public_v6)


@pytest.mark.parametrize("version", [4, 6])
def test_the_internet_sees_the_exit_node(lab: Lab, user: Box, version: int) -> None:
    assert seen_outside(lab, user.site.box, version) == public(lab.boxes["b"], version)


@pytest.mark.parametrize("version", [4, 6])
def test_a_lan_behind_the_box_goes_out_through_it_when_it_is_named(
    lab: Lab, user: Box, version: int
) -> None:
    site = user.site
    networks = [str(site.lan_v4), str(site.lan_v6)]
    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": networks}))

    def through() -> bool | None:
        rules = site.box.run("ip", f"-{version}", "rule")
        return True if str(site.lan_v4 if version == 4 else site.lan_v6) in rules else None

    wait_for(through, seconds=5, otherwise=user.daemon.tail)
    assert seen_outside(lab, site.host, version) == public(lab.boxes["b"], version)

    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": []}))


@pytest.mark.parametrize("version", [4, 6])
def test_a_lan_that_is_not_named_goes_the_normal_way(user: Box, version: int) -> None:
    site = user.site
    host, target = (site.host_v4, INTERNET_V4) if version == 4 else (site.host_v6, INTERNET_V6)
    way = site.box.run("ip", "route", "get", str(target), "from", str(host), "iif", "lan0")

    assert "dev wan0" in way


def test_what_carries_the_mesh_never_enters_it(user: Box) -> None:
    """Also where WireGuard has chosen the sender's address already, and it is one of the LAN."""
    site = user.site
    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": [str(site.lan_v4)]}))
    wait_for(
        lambda: True if str(site.lan_v4) in site.box.run("ip", "rule") else None,
        seconds=5,
        otherwise=user.daemon.tail,
    )
    marked = ("from", str(site.lan_v4[1]), "mark", hex(owned.MARK))

    assert "dev wan0" in site.box.run("ip", "route", "get", str(INTERNET_V4), *marked)

    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": []}))


def test_the_lan_is_reached_as_ever(user: Box) -> None:
    assert user.site.box.attempt("ping", "-c1", "-W2", str(user.site.host_v4)).returncode == 0
    assert user.site.host.attempt("ping", "-c1", "-W2", str(user.site.lan_v4[1])).returncode == 0


def test_without_an_exit_node_nothing_stays_behind(lab: Lab, user: Box) -> None:
    use(user, "")

    assert seen_outside(lab, user.site.box, 4) == public(user, 4)
    assert not list(user.directory.rglob(f"*{owned.NFT_GUARD_TABLE}*"))
