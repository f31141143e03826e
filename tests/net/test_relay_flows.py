"""The kernel's table of relayed flows follows the session; the kernel is a dictionary here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.net.waiting import eventually
from tests.sessions.relay_client_by_hand import Client, private

from gatepost.model.netmap import Endpoint
from gatepost.net.relay_flows import HOUSEKEEPING, Flows
from gatepost.net.relay_ports import Count
from gatepost.net.relay_socket import RelayTable
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.relay_server import STEADY_LIFETIME, Flow, Onward, Place, RelayServer, Reply
from gatepost.wire.disco_relay import AllocateRequest, Allocation, BindRelay

HERE = ip_address("192.0.2.1")
LOCAL = Local(HERE, 2)
AT_A, AT_B = Endpoint(ip_address("10.1.0.2"), 5000), Endpoint(ip_address("10.2.0.2"), 6000)
MOVED = Endpoint(ip_address("10.1.0.2"), 5001)
OLD = Flow(Endpoint(ip_address("10.9.0.2"), 9), HERE, 99)


@dataclass
class FakeKernel:
    """A table that can be lost, can refuse, and counts what a test says it carried."""

    table: dict[Flow, Count] = field(default_factory=dict[Flow, Count])
    steps: list[str] = field(default_factory=list[str])
    trouble: str = ""
    refuses: bool = False
    is_new: bool = True

    async def look(self) -> bool:
        new, self.is_new = self.is_new, False
        return new

    async def put(self, flows: Mapping[Flow, Onward]) -> None:
        if self.refuses:
            raise OSError("the kernel is out of sorts")
        self.steps.append("put")
        self.table.update(dict.fromkeys(flows, Count(0, 0)))

    async def drop(self, flows: Collection[Flow]) -> None:
        self.steps.append("drop")
        for flow in flows:
            self.table.pop(flow, None)

    async def counts(self) -> Mapping[Flow, Count]:
        return dict(self.table)

    async def close(self) -> None:
        """Do nothing: flows stay in the kernel."""

    def carry(self, flow: Flow, packets: int) -> None:
        before = self.table[flow]
        self.table[flow] = Count(before.packets + packets, before.octets + 100 * packets)


@dataclass
class Bed:
    """A session, a kernel, and a clock that a test moves."""

    kernel: FakeKernel = field(default_factory=FakeKernel)
    now: float = 1000.0
    works: list[bool] = field(default_factory=list[bool])

    def __post_init__(self) -> None:
        self.session = RelayServer(private(), secrets.token_bytes)
        self.session.addresses = (Endpoint(HERE, 7777),)
        self.flows = Flows(self.session, RelayTable(), self.kernel, lambda: self.now)
        self.a, self.b = Client(), Client()
        pair = (self.a.key.public, self.b.key.public)
        answer = self.session.allocate(pair[0], AllocateRequest(pair, 1), self.now)
        assert answer is not None
        self.place: Allocation = answer.allocation

    def on_kernel(self, *, works: bool) -> None:
        self.works.append(works)

    def bind(self, client: Client, source: Endpoint) -> Place:
        """Do a whole handshake and tell the flows of it."""
        other = (self.b if client is self.a else self.a).key.public
        vni, generation = self.place.vni, next(client.generations)
        said = BindRelay(vni=vni, generation=generation, remote=other)
        packet = client.packet(said, self.session.key, vni)
        reply = self.session.on_control(packet, source, LOCAL, self.now)
        assert isinstance(reply, Reply)
        packet = client.packet(client.answer(reply.packet), self.session.key, vni)
        place = self.session.on_control(packet, source, LOCAL, self.now)
        assert isinstance(place, Place)
        self.flows.changed(place)
        return place

    async def bind_both(self) -> Place:
        self.bind(self.a, AT_A)
        place = self.bind(self.b, AT_B)
        await eventually(lambda: set(place.flows()) <= set(self.kernel.table))
        return place

    async def later(self, seconds: float) -> None:
        """Move the clock, and wait until the housekeeping of then is done."""
        self.now += seconds
        self.flows.look()
        for _ in range(20):  # turns of the loop; nothing in it waits for anything else
            await asyncio.sleep(0)


@asynccontextmanager
async def running(bed: Bed) -> AsyncGenerator[Bed]:
    task = asyncio.get_running_loop().create_task(bed.flows.run(bed.on_kernel))
    await eventually(lambda: bed.flows.is_settled)
    yield bed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_directions_of_a_place_are_put_into_the_kernel() -> None:
    async with running(Bed()) as bed:
        place = await bed.bind_both()

        assert set(bed.kernel.table) == set(place.flows())
        assert bed.works == [True]


async def test_a_client_that_moved_is_put_before_its_old_flow_is_dropped() -> None:
    async with running(Bed()) as bed:
        await bed.bind_both()
        bed.kernel.steps.clear()
        place = bed.bind(bed.a, MOVED)
        await eventually(lambda: set(bed.kernel.table) == set(place.flows()))

        assert bed.kernel.steps == ["put", "drop"]


async def test_what_the_kernel_carried_keeps_a_place_alive() -> None:
    async with running(Bed()) as bed:
        place = await bed.bind_both()
        for _ in range(4):
            for flow in place.flows():
                bed.kernel.carry(flow, 5)
            await bed.later(STEADY_LIFETIME / 2)

        assert [end.packets for end in place.ends] == [20, 20]
        assert len(bed.session) == 1


async def test_what_was_carried_counts_on_when_the_other_end_moved() -> None:
    """The flow towards who moved is put again, and its counters in the kernel start anew."""
    async with running(Bed()) as bed:
        await bed.bind_both()
        towards_a = Flow(AT_B, HERE, bed.place.vni)
        bed.kernel.carry(towards_a, 10)
        await bed.later(HOUSEKEEPING)
        place = bed.bind(bed.a, MOVED)
        await eventually(lambda: set(bed.kernel.table) == set(place.flows()))
        bed.kernel.carry(towards_a, 4)
        await bed.later(HOUSEKEEPING)

        assert sorted(end.packets for end in place.ends) == [0, 14]


async def test_a_place_that_carries_nothing_leaves_the_kernel() -> None:
    async with running(Bed()) as bed:
        await bed.bind_both()
        await bed.later(STEADY_LIFETIME + 1)
        await eventually(lambda: not bed.kernel.table)

        assert len(bed.session) == 0


async def test_flows_of_an_earlier_run_stay_until_they_are_idle() -> None:
    bed = Bed(FakeKernel(table={OLD: Count(7, 700)}))
    async with running(bed):
        await bed.later(STEADY_LIFETIME - HOUSEKEEPING)
        bed.kernel.carry(OLD, 1)
        await bed.later(STEADY_LIFETIME - HOUSEKEEPING)
        assert OLD in bed.kernel.table
        assert bed.flows.adopted == 1

        await bed.later(STEADY_LIFETIME + 1)
        await bed.later(HOUSEKEEPING)
        assert OLD not in bed.kernel.table
        assert bed.flows.adopted == 0


async def test_a_table_that_was_made_anew_is_filled_again() -> None:
    async with running(Bed()) as bed:
        place = await bed.bind_both()
        bed.kernel.table.clear()
        bed.kernel.is_new = True
        bed.flows.look()

        await eventually(lambda: set(bed.kernel.table) == set(place.flows()))


async def test_a_refusal_of_the_kernel_is_tried_again() -> None:
    async with running(Bed()) as bed:
        bed.kernel.refuses = True
        bed.bind(bed.a, AT_A)
        place = bed.bind(bed.b, AT_B)
        await bed.later(0.0)
        assert bed.kernel.table == {}
        bed.kernel.refuses = False
        bed.flows.look()

        await eventually(lambda: set(bed.kernel.table) == set(place.flows()))


async def test_without_the_kernel_user_space_is_told_so_and_told_when_it_is_back() -> None:
    bed = Bed(FakeKernel(trouble="no BPF"))
    async with running(bed):
        bed.bind(bed.a, AT_A)
        place = bed.bind(bed.b, AT_B)
        await bed.later(0.0)
        assert (bed.works, bed.kernel.table) == ([False], {})
        bed.kernel.trouble = ""
        bed.flows.look()
        await eventually(lambda: set(bed.kernel.table) == set(place.flows()))

        assert bed.works == [False, True]
