"""Stand-ins for places at peer relays, with a real kernel: programs, routes, and packets.

box (10.9.0.2, fd00:9::2) --- router (…::1) --- relay (10.8.0.2, fd00:8::2)
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from tests.linux.inside import apply, run_inside, settle

from gatepost.linux.netlink import Netlink
from gatepost.linux.rules import Rules
from gatepost.linux.stand_ins import StandIns
from gatepost.linux.tc import TrafficPrograms
from gatepost.model.kernel import Rule, TrafficProgram
from gatepost.model.netmap import Endpoint, IPNetwork
from gatepost.model.owned import MARK, RELAY_NETWORK, RELAY_NETWORK_V6
from gatepost.testing.netns import Machine, connect, machines, patient
from gatepost.wire.geneve import DISCO, WIREGUARD, Geneve, read_geneve, write_geneve

pytestmark = pytest.mark.root

VNI, PORT = 4711, 7777
WAIT = patient(3.0)  # seconds for a packet that has to come
DATA = b"\x04\0\0\0" + bytes(range(256)) * 5
BOX = {4: "10.9.0.2", 6: "fd00:9::2"}
RELAY = {4: Endpoint(ip_address("10.8.0.2"), PORT), 6: Endpoint(ip_address("fd00:8::2"), PORT)}
PEER = {4: Endpoint(ip_address("10.8.0.99"), 41641), 6: Endpoint(ip_address("fd00:8::99"), 41641)}
NETWORK: dict[int, IPNetwork] = {4: RELAY_NETWORK, 6: RELAY_NETWORK_V6}


@dataclass(frozen=True)
class Bed:
    box: Machine
    router: Machine
    relay: Machine


@pytest.fixture
def bed() -> Iterator[Bed]:
    with machines() as owner:
        box, router, relay = owner.add("box", "router", "relay")
        connect(box, "wan0", router, "lan0")
        connect(router, "lan1", relay, "eth0")
        box.ip(
            "address add 10.9.0.2/24 dev wan0",
            "address add fd00:9::2/64 dev wan0 nodad",
            "route add default via 10.9.0.1",
            "route add default via fd00:9::1",
        )
        router.ip(
            "address add 10.9.0.1/24 dev lan0",
            "address add fd00:9::1/64 dev lan0 nodad",
            "address add 10.8.0.1/24 dev lan1",
            "address add fd00:8::1/64 dev lan1 nodad",
        )
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        relay.ip(
            "address add 10.8.0.2/24 dev eth0",
            "address add fd00:8::2/64 dev eth0 nodad",
            "route add default via 10.8.0.1",
            "route add default via fd00:8::1",
        )
        box.sysctl(net__ipv4__conf__all__rp_filter=1, net__ipv4__conf__wan0__rp_filter=1)
        yield Bed(box, router, relay)


class Here:
    """What a box has beside its stand-ins: the appliers of what they want."""

    def __init__(self, netlink: Netlink) -> None:
        self.wishes = 0
        self.devices = ("wan0", "wan1", "modem0")  # what such a box may have
        self.stand_ins = StandIns(netlink, self._wish)
        self._rules = Rules(netlink)
        self._programs = TrafficPrograms(netlink, self._wanted)

    def _wish(self) -> None:
        self.wishes += 1

    def _wanted(self) -> list[TrafficProgram]:
        return [r for r in self.stand_ins.resources(self.devices) if isinstance(r, TrafficProgram)]

    async def reconcile(self) -> None:
        rules = [r for r in self.stand_ins.resources(self.devices) if isinstance(r, Rule)]
        await apply(self._rules, *rules)
        await apply(self._programs, *self._wanted())

    async def settle(self) -> None:
        await settle(self._programs, *self._wanted())

    async def open(self, server: Endpoint, vni: int = VNI) -> Endpoint:
        """Open as the daemon does it: a first try, a round, a second one."""
        if (there := await self.stand_ins.open(server, vni)) is not None:
            return there
        await self.reconcile()
        there = await self.stand_ins.open(server, vni)
        assert there is not None
        return there


def socket_in(machine: Machine, address: str, port: int) -> socket.socket:
    async def work(_: Netlink) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.settimeout(WAIT)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        opened.bind((address, port))
        return opened

    return run_inside(machine, work)


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def talk(bed: Bed, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return WireGuard's socket on the box and the relay's."""
    anywhere = "::" if version == 6 else "0.0.0.0"  # as WireGuard binds
    ours = socket_in(bed.box, anywhere, 41641)
    theirs = socket_in(bed.relay, str(RELAY[version].address), PORT)
    yield ours, theirs
    ours.close()
    theirs.close()


def send(from_: socket.socket, to: Endpoint, content: bytes) -> None:
    from_.sendto(content, (str(to.address), to.port))


def receive(at: socket.socket) -> tuple[bytes, Endpoint]:
    content, sender = at.recvfrom(4096)
    return content, Endpoint(ip_address(sender[0]), sender[1])


def open_place(
    bed: Bed, version: int, then: Callable[[Here, Endpoint], None] | None = None
) -> Endpoint:
    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        if then is not None:
            then(here, stand_in)
        return stand_in

    return run_inside(bed.box, work)


def test_without_the_programs_there_is_no_stand_in_but_the_wish_for_them(
    bed: Bed, version: int
) -> None:
    async def work(netlink: Netlink) -> None:
        here = Here(netlink)

        assert await here.stand_ins.open(RELAY[version], VNI) is None
        assert here.stand_ins.devices == {"wan0"}
        assert here.wishes == 1

    run_inside(bed.box, work)


def test_the_programs_reach_the_goal_and_the_second_round_writes_nothing(bed: Bed) -> None:
    async def work(netlink: Netlink) -> None:
        here = Here(netlink)
        await here.open(RELAY[4])
        await here.settle()

    run_inside(bed.box, work)


def test_a_device_that_is_gone_gets_no_program_until_it_is_back(bed: Bed) -> None:
    async def work(netlink: Netlink) -> None:
        here = Here(netlink)
        await here.open(RELAY[4])

        assert here.stand_ins.resources(["lan0"]) == ()
        assert here.stand_ins.resources(["wan0"])

    run_inside(bed.box, work)


def test_what_goes_to_the_stand_in_arrives_at_the_relay_with_the_header(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    stand_in = open_place(bed, version)
    assert stand_in.address in NETWORK[version]
    send(talk[0], stand_in, DATA)
    content, sender = receive(talk[1])

    assert read_geneve(content) == (Geneve(VNI, WIREGUARD), DATA)
    assert sender == Endpoint(ip_address(BOX[version]), 41641)


def test_what_the_relay_sends_comes_from_the_stand_in_without_the_header(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    stand_in = open_place(bed, version)
    box = Endpoint(ip_address(BOX[version]), 41641)
    send(talk[1], box, write_geneve(Geneve(VNI, WIREGUARD), DATA))

    assert receive(talk[0]) == (DATA, stand_in)


def test_what_the_relay_sends_can_come_from_the_address_in_use(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    open_place(bed, version, lambda here, there: here.stand_ins.appear_as(there, PEER[version]))
    box = Endpoint(ip_address(BOX[version]), 41641)
    send(talk[1], box, write_geneve(Geneve(VNI, WIREGUARD), DATA))

    assert receive(talk[0]) == (DATA, PEER[version])


def test_loopback_cannot_stand_in_a_packet_from_outside(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    proxy = Endpoint(ip_address("127.64.0.1"), 41643)
    stand_in = open_place(bed, version, lambda here, there: here.stand_ins.appear_as(there, proxy))
    box = Endpoint(ip_address(BOX[version]), 41641)
    send(talk[1], box, write_geneve(Geneve(VNI, WIREGUARD), DATA))

    assert receive(talk[0])[1] == stand_in


def test_other_places_and_discovery_of_the_relay_pass_by(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    open_place(bed, version)
    box = Endpoint(ip_address(BOX[version]), 41641)
    other = write_geneve(Geneve(VNI + 1, WIREGUARD), DATA)
    send(talk[1], box, other)

    assert receive(talk[0]) == (other, RELAY[version])


def test_discovery_by_the_stand_in_keeps_its_header(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    stand_in = open_place(bed, version)
    said = write_geneve(Geneve(VNI, DISCO, is_control=True), b"TS" * 60)
    send(talk[0], stand_in, said)
    content, box = receive(talk[1])
    send(talk[1], box, content)

    assert content == said
    assert receive(talk[0]) == (said, stand_in)


def test_a_relay_in_our_own_network_is_reached_without_a_router(bed: Bed) -> None:
    near = Endpoint(ip_address("10.9.0.1"), PORT)
    theirs = socket_in(bed.router, "10.9.0.1", PORT)
    ours = socket_in(bed.box, "10.9.0.2", 41641)

    async def work(netlink: Netlink) -> Endpoint:
        return await Here(netlink).open(near)

    send(ours, run_inside(bed.box, work), DATA)

    assert read_geneve(receive(theirs)[0])[1] == DATA
    ours.close()
    theirs.close()


def test_a_relay_on_this_very_machine_has_no_stand_in(bed: Bed) -> None:
    async def work(netlink: Netlink) -> None:
        here = Here(netlink)

        assert await here.stand_ins.open(Endpoint(ip_address(BOX[4]), PORT), VNI) is None
        assert here.stand_ins.devices == frozenset()

    run_inside(bed.box, work)


def test_a_closed_stand_in_leaves_no_route_and_no_entry(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        await here.stand_ins.close(stand_in)
        await here.stand_ins.close(stand_in)
        return stand_in

    run_inside(bed.box, work)
    box = Endpoint(ip_address(BOX[version]), 41641)
    wrapped = write_geneve(Geneve(VNI, WIREGUARD), DATA)
    send(talk[1], box, wrapped)

    assert receive(talk[0])[0] == wrapped
    routes = bed.box.run("ip", "-json", f"-{version}", "route", "show", "table", "53")
    assert json.loads(routes or "[]") == []


def test_the_same_place_has_the_same_stand_in_after_a_restart(bed: Bed, version: int) -> None:
    first = open_place(bed, version)

    async def work(netlink: Netlink) -> tuple[frozenset[str], Endpoint | None]:
        here = Here(netlink)
        await here.stand_ins.start()
        return here.stand_ins.devices, await here.stand_ins.open(RELAY[version], VNI)

    assert run_inside(bed.box, work) == (frozenset({"wan0"}), first)


def test_what_an_earlier_daemon_left_goes_with_the_first_stand_in(bed: Bed, version: int) -> None:
    open_place(bed, version)

    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        await here.stand_ins.start()
        return await here.open(RELAY[version], VNI + 1)

    there = run_inside(bed.box, work)
    routes = bed.box.run("ip", "-json", f"-{version}", "route", "show", "table", "53")

    assert [r["dst"] for r in json.loads(routes)] == [str(there.address)]


def test_programs_that_were_deleted_by_hand_are_filled_again(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        bed.box.run("tc", "qdisc", "delete", "dev", "wan0", "clsact")
        assert await here.stand_ins.check() == {stand_in}
        await here.reconcile()
        assert await here.stand_ins.open(RELAY[version], VNI) == stand_in
        return stand_in

    send(talk[0], run_inside(bed.box, work), DATA)

    assert read_geneve(receive(talk[1])[0])[1] == DATA


def test_a_stand_in_works_again_when_its_device_does(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    """The way is the same as before, but the kernel threw its route away meanwhile."""

    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        bed.box.ip("link set wan0 down")
        assert await here.stand_ins.check() == {stand_in}
        assert await here.stand_ins.check() == frozenset()  # it is closed
        bed.box.ip(
            "link set wan0 up",
            "address replace fd00:9::2/64 dev wan0 nodad",
            "route replace default via 10.9.0.1",
            "route replace default via fd00:9::1",
        )
        assert await here.stand_ins.open(RELAY[version], VNI) == stand_in
        return stand_in

    send(talk[0], run_inside(bed.box, work), DATA)

    assert read_geneve(receive(talk[1])[0])[1] == DATA


def test_another_way_to_the_relay_is_followed(bed: Bed, version: int) -> None:
    connect(bed.box, "wan1", bed.router, "lan2")
    bed.box.ip("address add 10.7.0.2/24 dev wan1", "address add fd00:7::2/64 dev wan1 nodad")
    bed.router.ip("address add 10.7.0.1/24 dev lan2", "address add fd00:7::1/64 dev lan2 nodad")

    async def work(netlink: Netlink) -> Endpoint:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        bed.box.ip(f"route replace default via {'10.7.0.1' if version == 4 else 'fd00:7::1'}")
        assert await here.stand_ins.check() == {stand_in}
        await here.reconcile()
        assert await here.stand_ins.open(RELAY[version], VNI) == stand_in
        assert here.stand_ins.devices == {"wan0", "wan1"}
        return stand_in

    stand_in = run_inside(bed.box, work)
    asked = bed.box.run("ip", "-json", "route", "get", str(stand_in.address), "mark", "0x80000")
    (way,) = json.loads(asked)

    assert (way["dev"], way["prefsrc"]) == ("wan1", "10.7.0.2" if version == 4 else "fd00:7::2")
