"""What peers are told about names, and when: not before there is a way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, ip_address, ip_network

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gatepost.daemon.peer_names import PeerNames
from gatepost.errors import Malformed
from gatepost.model.mesh import Advertise
from gatepost.model.netmap import DerpNode, DerpRegion, IPAddress
from gatepost.model.observed import Watch
from gatepost.model.peer_api import AnswerPeers, LearnNames
from gatepost.model.process import WatchNames
from gatepost.model.resource import Resource
from gatepost.sessions.answered_names import read_answered
from gatepost.testing.makers import make_netmap, make_node

ONE, SIX, RELAY = "203.0.113.1", "2001:db8::1", "203.0.113.9"
PEER = make_node(2)
MOST = 3


@dataclass(slots=True)
class World:
    """A resolver with a few names, and a coordination server that approves what it is told.

    `approves` False: it never does.
    """

    names: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    approves: bool = True
    saved: list[bytes] = field(default_factory=list[bytes])
    announced: int = 0
    observed: dict[Watch[frozenset[IPAddress]], frozenset[IPAddress]] = field(
        default_factory=dict[Watch[frozenset[IPAddress]], frozenset[IPAddress]]
    )
    now: float = 1_800_000_000.0
    subject: PeerNames = field(init=False)

    def __post_init__(self) -> None:
        self.subject = PeerNames(
            ask=self.ask,
            ask_apps=self.ask,
            publish=self.publish,
            announce=self.announce,
            attached=lambda: (ip_network("198.51.100.0/24"),),
            now=lambda: self.now,
            save=self.saved.append,
            head_start=0.0,
        )
        self.settle()

    def wishes(self) -> list[Resource]:
        learn = LearnNames(domain="wiki.example", keep=timedelta(hours=1), most=MOST)
        return [learn, AnswerPeers("wiki.example"), AnswerPeers("apps.example")]

    def settle(self) -> None:
        """Do what a round and the server do: all that is known is a route."""
        found = {ip_network(a) for held in self.observed.values() for a in held}
        self.subject.replace([*self.wishes(), *(Advertise(n) for n in found)])
        node = DerpNode(name="a", host="a.example", address_v4=IPv4Address(RELAY))
        region = DerpRegion(id=1, code="one", name="One", nodes=(node,))
        me = make_node(1, *(map(str, found) if self.approves else ()))
        self.subject.set_netmap(make_netmap(me=me, others=(PEER,), derp=(region,)))

    def publish(self, watch: Watch[frozenset[IPAddress]], found: frozenset[IPAddress]) -> None:
        self.observed[watch] = found

    def announce(self) -> None:
        self.announced += 1

    async def ask(self, raw: bytes) -> bytes:
        query = dns.message.from_wire(raw)
        answer = dns.message.make_response(query)
        asked = query.question[0]
        texts = self.names.get(asked.name.to_text(omit_final_dot=True), ())
        fitting = [t for t in texts if (":" in t) == (asked.rdtype == dns.rdatatype.AAAA)]
        if fitting:
            answer.answer.append(dns.rrset.from_text(asked.name, 30, "IN", asked.rdtype, *fitting))
        return answer.to_wire()

    async def told(self, name: str, kind: str = "A") -> tuple[str, ...]:
        """Ask as a peer; the addresses, or the failure's name."""
        raw = await self.subject.answer(dns.message.make_query(name, kind).to_wire(), PEER)
        answer = dns.message.from_wire(raw)
        if answer.rcode() != dns.rcode.NOERROR:
            return (dns.rcode.to_text(answer.rcode()),)
        found = read_answered(raw)
        return tuple(sorted(map(str, found.addresses))) if found else ()


async def held_until(world: World, task: asyncio.Task[tuple[str, ...]]) -> tuple[str, ...]:
    """Let an answer wait, settle, and return what it was."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    world.settle()
    async with asyncio.timeout(0.9):
        return await task


async def test_an_answer_waits_until_its_routes_are_there() -> None:
    world = World({"wiki.example": (ONE, SIX)})
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(world.told("wiki.example"))
        told = await held_until(world, asked)

    assert told == (ONE,)
    assert world.observed == {WatchNames("wiki.example"): {ip_address(ONE)}}
    assert world.announced == len(world.saved) == 1


async def test_what_is_known_is_told_at_once() -> None:
    world = World({"wiki.example": (ONE, SIX)})
    async with asyncio.TaskGroup() as group:
        await held_until(world, group.create_task(world.told("wiki.example")))
        await held_until(world, group.create_task(world.told("wiki.example", "AAAA")))

    async with asyncio.timeout(0.9):
        assert await world.told("wiki.example") == (ONE,)
    assert world.announced == 2


async def test_without_an_approval_the_answer_comes_late_once() -> None:
    world = World({"wiki.example": (ONE,)}, approves=False)
    world.subject.longest_hold = 0.05
    async with asyncio.timeout(5):
        assert await world.told("wiki.example") == (ONE,)
    world.subject.longest_hold = 1000.0
    async with asyncio.timeout(5):
        assert await world.told("wiki.example") == (ONE,)


async def test_names_that_peers_may_not_ask_about_are_refused() -> None:
    world = World({"other.example": (ONE,), "xwiki.example": (ONE,)})

    assert await world.told("other.example") == ("REFUSED",)
    assert await world.told("xwiki.example") == ("REFUSED",)
    assert world.observed == {}


async def test_names_that_are_not_learned_are_just_told() -> None:
    world = World({"a.apps.example": (ONE,)})

    assert await world.told("a.apps.example") == (ONE,)
    assert await world.told("b.apps.example") == ()
    assert world.announced == 0


@pytest.mark.parametrize("lie", ["10.2.0.2", "127.0.0.1", "198.51.100.7", "100.64.0.9", RELAY])
async def test_a_lie_is_kept_from_peers_and_told_to_the_operator(lie: str) -> None:
    world = World({"wiki.example": (lie,)})

    assert await world.told("wiki.example") == ("SERVFAIL",)
    assert world.observed == {}
    assert [n.code for n in world.subject.notices()] == ["app-answer-withheld"]
    assert lie in next(iter(world.subject.notices())).text


async def test_an_app_is_not_reached_by_hints() -> None:
    world = World()
    query = dns.message.make_query("wiki.example", "HTTPS")

    async def hint(raw: bytes) -> bytes:
        answer = dns.message.make_response(dns.message.from_wire(raw))
        text = f"1 . ipv4hint={ONE}"
        answer.answer.append(dns.rrset.from_text("wiki.example.", 60, "IN", "HTTPS", text))
        return answer.to_wire()

    world.subject.ask_apps = world.subject.ask = hint
    told = dns.message.from_wire(await world.subject.answer(query.to_wire(), PEER))

    assert (told.rcode(), told.answer) == (dns.rcode.NOERROR, [])


async def test_the_honest_part_of_an_answer_is_told() -> None:
    world = World({"wiki.example": ("10.2.0.2", ONE)})
    async with asyncio.TaskGroup() as group:
        told = await held_until(world, group.create_task(world.told("wiki.example")))

    assert told == (ONE,)


async def test_a_crowd_is_cut_down_to_what_has_routes() -> None:
    crowd = tuple(f"20.0.0.{n}" for n in range(200))
    world = World({"wiki.example": crowd})
    async with asyncio.TaskGroup() as group:
        told = await held_until(world, group.create_task(world.told("wiki.example")))

    assert len(told) == MOST
    assert [n.code for n in world.subject.notices()] == ["app-domain-crowded"]


async def test_what_is_over_is_no_route_any_more() -> None:
    world = World({"wiki.example": (ONE,)})
    async with asyncio.TaskGroup() as group:
        await held_until(world, group.create_task(world.told("wiki.example")))
    world.now += 3601
    world.subject.expire()

    assert world.observed == {WatchNames("wiki.example"): frozenset()}
    assert len(world.saved) == 2


async def test_after_a_restart_everything_is_known_again() -> None:
    world = World({"wiki.example": (ONE,)})
    async with asyncio.TaskGroup() as group:
        await held_until(world, group.create_task(world.told("wiki.example")))
    after = World({"wiki.example": (ONE,)})
    after.subject.load(world.saved[-1])

    assert after.observed == world.observed
    after.settle()
    async with asyncio.timeout(0.9):
        assert await after.told("wiki.example") == (ONE,)
    assert after.announced == 0


async def test_a_domain_that_is_wanted_again_is_observed_again() -> None:
    world = World({"wiki.example": (ONE,)})
    async with asyncio.TaskGroup() as group:
        await held_until(world, group.create_task(world.told("wiki.example")))
    world.subject.replace([])
    world.observed.clear()
    world.subject.replace(world.wishes())

    assert world.observed == {WatchNames("wiki.example"): {ip_address(ONE)}}


async def test_what_is_no_query_is_refused() -> None:
    with pytest.raises(Malformed):
        await World().subject.answer(b"nonsense", PEER)
