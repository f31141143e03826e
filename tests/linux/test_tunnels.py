"""Whole tunnels beside the mesh's device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from tests.linux.inside import apply, run_inside, settle
from tests.linux.peers import make_device, make_private, open_it

from gatepost.linux.netlink import Netlink
from gatepost.linux.tunnels import Tunnels
from gatepost.linux.wireguard import Devices
from gatepost.model.keys import PresharedKey
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import MARK
from gatepost.model.tunnel import Tunnel, TunnelPeer
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root

NAME = "gp-test-exit"  # a socket of this name is in the host's /run
SERVER = TunnelPeer(
    public_key=make_private(7).public,
    preshared=PresharedKey(bytes(range(32))),
    endpoint=Endpoint(ip_address("192.0.2.1"), 51820),
    keepalive=25,
    allowed=frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")}),
)
TUNNEL = Tunnel(
    name=NAME,
    private_key=make_private(8),
    port=41648,
    mark=MARK,
    mtu=1280,
    peers=frozenset({SERVER}),
)


@pytest.fixture
def box(machine: Machine) -> Iterator[Machine]:
    yield machine
    for name in (NAME, make_device().name):
        machine.attempt("ip", "link", "delete", name)
        Path(f"/var/run/wireguard/{name}.sock").unlink(missing_ok=True)


async def tunnels(netlink: Netlink) -> Tunnels:
    return Tunnels((await open_it(netlink)).beside, {NAME})


def test_a_tunnel_reaches_the_goal_through_every_change(box: Machine) -> None:
    other = replace(SERVER, public_key=make_private(9).public, preshared=None, keepalive=0)
    moved = replace(SERVER, endpoint=Endpoint(ip_address("2001:db8::1"), 443))
    guest = TunnelPeer(
        public_key=make_private(10).public, allowed=frozenset({ip_network("10.9.0.2/32")})
    )

    async def work(netlink: Netlink) -> None:
        made = await tunnels(netlink)
        for wanted in (
            TUNNEL,
            replace(TUNNEL, peers=frozenset({moved})),
            replace(TUNNEL, peers=frozenset({other, guest}), port=4500, mtu=1420),
            replace(TUNNEL, peers=frozenset()),
        ):
            await settle(made, wanted)
        await settle(made)

    run_inside(box, work)


def test_what_is_changed_by_hand_shows(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        made = await tunnels(netlink)
        await settle(made, TUNNEL)
        for line in (f"link set {NAME} down", f"link set {NAME} mtu 1400", f"link delete {NAME}"):
            box.ip(line)

            assert await apply(made, TUNNEL)
            assert await made.read() == {TUNNEL}

    run_inside(box, work)


def test_the_mesh_s_device_is_another_one(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        made, devices = await tunnels(netlink), Devices(await open_it(netlink))
        await settle(devices, make_device())
        await settle(made, TUNNEL)
        await settle(devices)

        assert await made.read() == {TUNNEL}

    run_inside(box, work)


def test_a_device_that_is_not_one_of_ours_is_refused(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        with pytest.raises(OSError, match=f"eth0: the tunnels of this node are {NAME}"):
            await apply(await tunnels(netlink), replace(TUNNEL, name="eth0"))

    run_inside(box, work)
