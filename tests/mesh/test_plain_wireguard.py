"""A phone with the stock app: WireGuard's own tools with the file that the box hands out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pytest

from gatepost.model import owned
from gatepost.model.policy import PolicyRequest
from gatepost.testing.lab_boxes import PROGRAMS, Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine, connect
from gatepost.testing.scene_lab import answer, ask, await_answer, ping, turn_on

pytestmark = [pytest.mark.root, pytest.mark.mesh]

GUESTS = IPv4Network("10.77.1.0/24")
PHONE = IPv4Address("10.77.1.2")
OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'
HOSTS = {"phone": str(PHONE)}


@dataclass(frozen=True, slots=True)
class World:
    """A mesh with a phone that is somewhere in the internet and joins through box a."""

    lab: Lab
    phone: Machine

    @property
    def box(self) -> Box:
        return self.lab.boxes["a"]

    def allow(self, *rules: tuple[str, str]) -> None:
        """Set a policy with these sources and destinations and nothing else."""
        acls = [{"action": "accept", "src": [s], "dst": [d]} for s, d in rules]
        text = json.dumps({"hosts": HOSTS, "acls": acls})
        self.lab.coordination.client.set_policy(PolicyRequest(text=text))

    def gatepost(self, *words: str) -> str:
        program = str(PROGRAMS / "gatepost")
        return self.box.site.box.run(program, "--socket", str(self.box.socket), *words)


def plug_in(lab: Lab) -> Machine:
    """Return a machine at the internet with an address and a default route."""
    (phone,) = lab.owner.add("phone")
    connect(lab.topology.internet, "phone", phone, "wan0")
    lab.topology.internet.ip("address add 198.51.100.249/30 dev phone")
    phone.ip("address add 198.51.100.250/30 dev wan0", "route add default via 198.51.100.249")
    return phone


def scan(phone: Machine, text: str) -> None:
    """Do with a configuration what the app does."""
    lines = [line.partition(" = ") for line in text.splitlines()]
    values = {name: value for name, _, value in lines if value}
    kept = [line for line in text.splitlines() if not line.startswith(("Address", "MTU"))]
    phone.run("wireguard-go", "wg0")
    phone.run("wg", "setconf", "wg0", "/dev/stdin", stdin="\n".join(kept) + "\n")
    phone.ip(
        f"address add {values['Address']} dev wg0",
        f"link set wg0 mtu {values['MTU']} up",
        *(f"route add {network} dev wg0" for network in values["AllowedIPs"].split(", ")),
    )


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[World]:
    found = World(lab, plug_in(lab))
    turn_on(found.box, "plain-wireguard", networks=[str(GUESTS)])
    lab.approve(found.box, str(GUESTS))
    for site in lab.sites:
        answer(site.host, site.host.name, str(site.host_v4))
    wait_for(
        lambda: found.box.client.plain_wireguard().host or None,
        seconds=20,
        otherwise=lambda: "the box does not know where the internet sees it",
    )
    path = lab.directory / "phone.conf"
    found.gatepost("wireguard", "add", "phone", "--output", str(path))
    scan(found.phone, path.read_text())
    await_answer(found.phone, str(GUESTS[1]), (found.box,))
    yield found
    found.phone.attempt("ip", "link", "delete", "wg0")


@pytest.fixture(autouse=True)
def _everybody_again(world: World) -> Iterator[None]:
    yield
    world.lab.coordination.client.set_policy(PolicyRequest(text=OPEN))


def await_seen(world: World, host: str, name: str) -> None:
    """Wait until a host answers the phone by UDP and has seen its own address."""
    wanted = f"{name} sees {PHONE}"
    wait_for(
        lambda: True if ask(world.phone, "udp", host, sees=True) == wanted else None,
        seconds=20,
        otherwise=lambda: f"{host}: not {wanted}\n{world.box.daemon.tail()}",
    )


@pytest.mark.parametrize("site", ["a", "b", "c"])
def test_the_phone_reaches_hosts_of_every_site_under_its_own_address(
    world: World, site: str
) -> None:
    host = world.lab.topology.site(site).host_v4
    await_answer(world.phone, str(host), tuple(world.lab.boxes.values()))

    assert ask(world.phone, "tcp", str(host), sees=True) == f"host-{site} sees {PHONE}"
    assert ask(world.phone, "udp", str(host), sees=True) == f"host-{site} sees {PHONE}"


def test_boxes_are_reached_at_their_addresses_in_the_mesh(world: World) -> None:
    for box in world.lab.boxes.values():
        node = box.client.status().node
        assert node
        await_answer(world.phone, node.addresses[0].split("/")[0], (box,))


def test_the_phone_is_reached_from_other_sites(world: World) -> None:
    answer(world.phone, "phone", str(PHONE))
    host = world.lab.topology.site("b").host
    await_answer(host, str(PHONE), tuple(world.lab.boxes.values()))

    source = world.lab.topology.site("b").host_v4
    assert ask(host, "tcp", str(PHONE), sees=True) == f"phone sees {source}"


@pytest.mark.parametrize("site", ["a", "b"])
def test_only_what_the_policy_grants_to_its_address_is_open(world: World, site: str) -> None:
    """Site a is the box's own, where it judges itself; at site b the box there does."""
    host = str(world.lab.topology.site(site).host_v4)
    world.allow(("phone", f"{host}:8000"))
    await_seen(world, host, f"host-{site}")

    assert ask(world.phone, "tcp", host) == f"host-{site}"
    assert ask(world.phone, "udp", host, port=8010) == "TimeoutError"
    other = str(world.lab.topology.site("c").host_v4)
    assert ask(world.phone, "tcp", other) == "TimeoutError"


def test_a_phone_without_a_grant_reaches_nothing_and_a_flow_stops(world: World) -> None:
    own, far = (str(world.lab.topology.site(s).host_v4) for s in "ab")
    await_answer(world.phone, own)
    await_answer(world.phone, far)
    world.allow(("100.64.0.0/10", "100.64.0.0/10:*"))

    for host in (own, far):
        wait_for(
            lambda host=host: None if ping(world.phone, host) else True,  # type: ignore[misc]  # mypy cannot infer a lambda with a bound default
            seconds=20,
            otherwise=lambda: "it still answers",
        )
    assert not ping(world.phone, str(GUESTS[1]))


def test_nobody_reaches_the_phone_without_a_grant(world: World) -> None:
    """Neither from the mesh nor from the box's own LAN, though the phone may reach both."""
    hosts = [world.lab.topology.site(s).host for s in "ab"]
    for host in hosts:
        await_answer(host, str(PHONE))
    world.allow(("phone", "*:*"))

    for host in hosts:
        wait_for(
            lambda host=host: None if ping(host, str(PHONE)) else True,  # type: ignore[misc]  # mypy cannot infer a lambda with a bound default
            seconds=20,
            otherwise=lambda: "the phone still answers",
        )
    await_answer(world.phone, str(world.lab.topology.site("b").host_v4))


def test_nobody_else_sends_with_an_address_of_the_phones(world: World) -> None:
    host = world.lab.topology.site("a").host
    stolen = GUESTS[7]
    host.ip(f"address add {stolen}/32 dev eth0")
    try:
        assert not ping(host, str(world.lab.topology.site("b").host_v4), "-I", str(stolen))
        assert ping(host, str(world.lab.topology.site("b").host_v4))
    finally:
        host.ip(f"address delete {stolen}/32 dev eth0")


def test_the_box_says_who_is_there(world: World) -> None:
    await_answer(world.phone, str(GUESTS[1]))
    (guest,) = world.box.client.plain_wireguard().guests

    assert (guest.name, guest.addresses) == ("phone", (str(PHONE),))
    assert guest.last_handshake is not None
    assert guest.received > 0
    assert guest.endpoint.startswith("198.51.100.250:")


def test_a_restart_of_the_daemon_cuts_nothing_and_writes_no_device(world: World) -> None:
    key = world.box.client.plain_wireguard().key
    world.box.daemon.signal("KILL")
    assert ping(world.phone, str(world.lab.topology.site("b").host_v4))
    world.box.daemon.start()
    world.box.await_answer()
    world.box.await_status(lambda s: s.state == "Running", "netmap")

    assert world.box.client.plain_wireguard().key == key
    await_answer(world.phone, str(world.lab.topology.site("b").host_v4), (world.box,))


def test_a_machine_that_was_removed_is_out(world: World) -> None:
    world.gatepost("wireguard", "remove", "phone")

    wait_for(
        lambda: None if ping(world.phone, str(GUESTS[1])) else True,
        seconds=20,
        otherwise=lambda: "it still answers",
    )
    shown = world.box.site.box.run("wg", "show", owned.GUEST_DEVICE, "peers")
    assert shown.strip() == ""
