"""One WireGuard device and its peers, with whichever implementation this machine has.

GATEPOST_TEST_WIREGUARD=kernel or =wireguard-go asks for one; without it, what
the product would choose itself is tested.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import count
from pathlib import Path

import pytest
from tests.linux.against_wg import compare, ratio
from tests.linux.inside import apply, processes_inside, run_inside, settle
from tests.linux.peers import (
    ENDPOINT,
    NAME,
    make_device,
    make_peer,
    make_private,
    many_peers,
    open_it,
)

from gatepost.linux.addresses import Addresses
from gatepost.linux.netlink import Netlink
from gatepost.linux.routes import Routes
from gatepost.linux.wireguard import Devices, Peers, WireGuard, open_wireguard
from gatepost.linux.wireguard_go import SOCKETS
from gatepost.linux.wireguard_state import PeerState
from gatepost.model.kernel import Address, Route
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import ROUTE_TABLE
from gatepost.testing.netns import Machine, connect, machines

pytestmark = pytest.mark.root


def peers_of(wireguard: WireGuard) -> Peers:
    return Peers(wireguard, lambda _: ENDPOINT)


@pytest.fixture
def box(machine: Machine) -> Iterator[Machine]:
    yield machine
    machine.attempt("ip", "link", "delete", NAME)
    Path(f"/var/run/wireguard/{NAME}.sock").unlink(missing_ok=True)


def test_the_device_reaches_the_goal_and_the_second_round_writes_nothing(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        await settle(Devices(wireguard), make_device())

        assert wireguard.backend in {"kernel", "wireguard-go"}
        state = await wireguard.read()
        assert state is not None
        assert (state.port, state.mark, state.peers) == (41641, 0x80000, ())
        assert state.private_key == make_private(1)

    run_inside(box, work)

    assert "fe80" not in box.run("ip", "address", "show", "dev", NAME)


@pytest.mark.parametrize(
    "damage", ["mtu 1400", "down", "up mtu 1300"], ids=lambda d: str(d).replace(" ", "-")
)
def test_a_device_that_was_changed_by_hand_is_put_right(box: Machine, damage: str) -> None:
    async def work(netlink: Netlink) -> None:
        devices = Devices(await open_it(netlink))
        await settle(devices, make_device())
        box.ip(f"link set {NAME} {damage}")

        assert len(await apply(devices, make_device())) == 1
        await settle(devices, make_device())

    run_inside(box, work)


def test_key_port_and_mark_can_change_while_it_runs(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        devices = Devices(await open_it(netlink))
        await settle(devices, make_device())
        await settle(devices, replace(make_device(7), port=41642, mark=0x40000))

    run_inside(box, work)


def test_a_device_that_was_deleted_is_made_again_with_its_peers(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        devices, peers = Devices(wireguard), peers_of(wireguard)
        await settle(devices, make_device())
        await settle(peers, *many_peers(3))
        box.ip(f"link delete {NAME}")

        assert await devices.read() == await peers.read() == frozenset()
        await settle(devices, make_device())
        await settle(peers, *many_peers(3))

    run_inside(box, work)


def test_a_device_nobody_wants_goes_and_wireguard_go_with_it(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        devices = Devices(await open_it(netlink))
        await settle(devices, make_device())
        await settle(devices)

    run_inside(box, work)
    deadline = time.monotonic() + 5
    while processes_inside(box, "wireguard-go") and time.monotonic() < deadline:
        time.sleep(0.02)

    assert processes_inside(box, "wireguard-go") == ()


def test_a_wireguard_go_that_is_still_ending_is_waited_for(box: Machine) -> None:
    """Its device is gone, its socket is not: a second one would refuse to start beside it."""

    async def work(netlink: Netlink) -> None:
        SOCKETS.mkdir(exist_ok=True)
        path = SOCKETS / f"{NAME}.sock"
        looks = count(1)

        def on_look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            if next(looks) == 3:
                path.unlink()
                ending.close()

        ending = await asyncio.start_unix_server(on_look, path)
        wireguard = await open_wireguard(netlink, NAME, prefer="wireguard-go")
        await settle(Devices(wireguard), make_device())
        await settle(Devices(wireguard))

    run_inside(box, work)


def test_a_strangers_device_with_our_name_is_left_alone_and_named(box: Machine) -> None:
    box.ip(f"link add {NAME} type veth peer name other0")

    with pytest.raises(OSError, match=f"{NAME} exists but is not .*ip link delete {NAME}"):
        run_inside(box, _read_devices)
    assert NAME in box.run("ip", "link")


async def _read_devices(netlink: Netlink) -> object:
    return await Devices(await open_it(netlink)).read()


def test_peers_reach_the_goal_and_the_second_round_writes_nothing(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        peers = peers_of(wireguard)
        await settle(Devices(wireguard), make_device())
        await settle(peers, make_peer(2, "100.64.0.2/32", "10.0.0.0/8"), make_peer(3))
        await settle(peers, make_peer(2, "100.64.0.2/32"), make_peer(4, "fd00::/64"))
        await settle(peers)

    run_inside(box, work)


def test_a_new_peer_gets_its_endpoint_and_a_changed_one_keeps_it(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        peers = peers_of(wireguard)
        await settle(Devices(wireguard), make_device())
        await settle(peers, make_peer(2, "100.64.0.2/32"))
        assert (await wireguard.peers())[0].endpoint == ENDPOINT

        moved = Endpoint(IPv6Address("2001:db8::1"), 5)
        await wireguard.set_endpoints({make_private(2).public: moved})
        await settle(peers, make_peer(2, "100.64.0.2/32", "10.0.0.0/8"))

        assert (await wireguard.peers())[0].endpoint == moved

    run_inside(box, work)


def test_an_endpoint_does_not_bring_back_a_peer_that_is_gone(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        await settle(Devices(wireguard), make_device())
        await wireguard.set_endpoints({make_private(2).public: ENDPOINT})

        assert await wireguard.peers() == ()

    run_inside(box, work)


def test_prefixes_that_change_hands_in_a_circle_arrive(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        peers = peers_of(wireguard)
        await settle(Devices(wireguard), make_device())
        await settle(peers, make_peer(2, "10.2.0.0/16"), make_peer(3, "10.3.0.0/16"))
        await settle(peers, make_peer(3, "10.2.0.0/16"), make_peer(2, "10.3.0.0/16"))
        await settle(peers, make_peer(9, "10.2.0.0/16", "10.3.0.0/16"))

    run_inside(box, work)


def test_a_peer_with_three_thousand_prefixes_is_written_and_read_whole(box: Machine) -> None:
    prefixes = [str(ip_network((0x0A000000 + 256 * n, 24))) for n in range(3000)]

    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        await settle(Devices(wireguard), make_device())
        await settle(peers_of(wireguard), make_peer(999, *prefixes), *many_peers(10))

    run_inside(box, work)


def test_a_peer_changed_by_hand_is_put_right(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        wireguard = await open_it(netlink)
        peers = peers_of(wireguard)
        await settle(Devices(wireguard), make_device())
        await settle(peers, *many_peers(3))
        key = make_private(2).public.base64
        await netlink.run(lambda: _wg(box, "set", NAME, "peer", key, "persistent-keepalive", "25"))

        assert len(await apply(peers, *many_peers(3))) == 1
        await settle(peers, *many_peers(3))

    run_inside(box, work)


def _wg(box: Machine, *arguments: str) -> None:
    """Run `wg` in the box's network, but where the sockets of wireguard-go are: here."""
    net = f"--net=/proc/{box.process_id}/ns/net"
    subprocess.run(("nsenter", net, "wg", *arguments), check=True, timeout=10)


def test_peers_are_written_no_slower_than_by_wg(box: Machine) -> None:
    found = run_inside(box, lambda netlink: compare(netlink, 300, turns=3))
    print(found)

    # The benchmark has the real limits; here nobody keeps the machine quiet.
    assert ratio(found.many) < 2.0
    assert ratio(found.one) < 1.0


# --- life without the daemon -----------------------------------------------------------

_STARTER = """
import asyncio, sys, time
from tests.linux.test_wireguard import bring_up
asyncio.run(bring_up(int(sys.argv[1]), sys.argv[2]))
print("ready", flush=True)
time.sleep(60)
"""


def side(number: int) -> str:
    return f"{NAME}{'xab'[number]}"[-15:]


async def bring_up(number: int, name: str) -> int:
    """Do the rounds for side `number` of a pair; return how many changes it took."""
    other = 3 - number
    mine, its = (ip_address(f"100.64.0.{n}") for n in (number, other))
    peer = replace(make_peer(10 + other, f"{its}/32"), device=name)
    there = Endpoint(ip_address(f"192.0.2.{other}"), 41641)
    route = Route(ROUTE_TABLE, ip_network("100.64.0.0/10"), name, source=mine)
    with Netlink() as netlink:
        wireguard = await open_it(netlink, name)
        devices, peers = Devices(wireguard), Peers(wireguard, lambda _: there)
        addresses = Addresses(netlink, frozenset({name}))
        return sum(
            [
                len(await apply(devices, make_device(10 + number, name))),
                len(await apply(peers, peer)),
                len(await apply(addresses, Address(name, mine))),
                len(await apply(Routes(netlink), route)),
            ]
        )


@pytest.fixture
def pair() -> Iterator[tuple[Machine, Machine]]:
    with machines() as owner:
        one, other = owner.add("one", "other")
        connect(one, "eth0", other, "eth0")
        one.ip("address add 192.0.2.1/24 dev eth0", "rule add priority 5270 lookup 52")
        other.ip("address add 192.0.2.2/24 dev eth0", "rule add priority 5270 lookup 52")
        yield one, other
        for machine, number in ((one, 1), (other, 2)):
            machine.attempt("ip", "link", "delete", side(number))
            for process in processes_inside(machine, "wireguard-go"):
                os.kill(process, signal.SIGKILL)
            Path(f"/var/run/wireguard/{side(number)}.sock").unlink(missing_ok=True)


def test_the_tunnel_outlives_a_killed_daemon_and_the_next_one_changes_nothing(
    pair: tuple[Machine, Machine],
) -> None:
    one, other = pair
    run_inside(other, lambda _: bring_up(2, side(2)))
    daemon = subprocess.Popen(
        (
            *("nsenter", f"--net=/proc/{one.process_id}/ns/net"),
            *(sys.executable, "-c", _STARTER, "1", side(1)),
        ),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        one.run("ping", "-c", "1", "-W", "5", "100.64.0.2")
        ping = one.start("ping", "-i", "0.02", "-c", "100", "100.64.0.2", output=subprocess.PIPE)
        daemon.kill()
        daemon.wait(10)
        changes = run_inside(one, lambda _: bring_up(1, side(1)))
        output, _ = ping.communicate(timeout=20)

    assert changes == 0
    assert " 0% packet loss" in output
    counters = run_inside(one, lambda netlink: _counters(netlink, side(1)))
    assert counters[0].last_handshake is not None
    assert abs(counters[0].last_handshake - _now()) < 60
    assert counters[0].received > 0
    assert counters[0].sent > 0


async def _counters(netlink: Netlink, name: str) -> tuple[PeerState, ...]:
    return await (await open_it(netlink, name)).peers()


def _now() -> float:
    return datetime.now(UTC).timestamp()
