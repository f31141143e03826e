"""Who is asked about whom, and what an answer is worth."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import count
from pathlib import Path

import pytest
from tests.coordination.makers import (
    ALICE,
    machine,
    make_node,
    make_report,
    running_ledger,
)

from gatepost.coordination.health import ASK_EVERY
from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.probes import PATH, STEP, Probes
from gatepost.coordination.records import PutNode, PutUser
from gatepost.errors import Malformed
from gatepost.model.keys import MachinePublic
from gatepost.wire.go_json import write_json
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import PingRequest, PingResponse

NET = ip_network("10.1.0.0/16")
URL = "https://server.example"
ONE, OTHER, USER, PHONE = 1, 2, 3, 4
GOOD = write_json(PingResponse(type="TSMP"))


@dataclass(slots=True)
class Nodes:
    """The connected nodes. Who is dead shows signs of life, but neither reaches nor is reached."""

    connected_ids: frozenset[int] = frozenset({ONE, OTHER, USER, PHONE})
    dead: set[str] = field(default_factory=set[str])  # addresses that nobody reaches
    asked: list[tuple[int, PingRequest]] = field(default_factory=list[tuple[int, PingRequest]])

    def ask(self, node_id: int, question: PingRequest) -> None:
        if node_id in self.connected_ids:
            self.asked.append((node_id, question))


@dataclass(slots=True)
class Bed:
    ledger: Ledger
    nodes: Nodes
    probes: Probes
    now: float = 1000.0

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.probes.step()
            for node_id, question in self.nodes.asked[:]:
                involved = {question.ip, self.address(node_id) if question.types else ""}
                if not involved & self.nodes.dead:
                    self.probes.answer(token_of(question), self.machine(node_id), GOOD)
            self.nodes.asked.clear()

    def machine(self, node_id: int) -> MachinePublic:
        return self.ledger.world.nodes[node_id].record.machine

    @property
    def primary(self) -> int:
        return self.ledger.world.primaries[NET]

    def address(self, node_id: int) -> str:
        return str(self.ledger.world.nodes[node_id].record.address)


def token_of(question: PingRequest) -> str:
    assert question.url.startswith(URL + PATH)
    return question.url.removeprefix(URL + PATH)


@asynccontextmanager
async def bed(path: Path, *, carriers: tuple[int, ...] = (ONE, OTHER)) -> AsyncGenerator[Bed]:
    async with running_ledger(path) as ledger:
        edits = [
            PutNode(
                make_node(i, approved_routes=(NET,) if i in carriers else ()),
                make_report(
                    i,
                    routes=(NET,) if i in carriers else (),
                    hostinfo=Hostinfo(os="iOS" if i == PHONE else "linux"),
                ),
            )
            for i in (ONE, OTHER, USER, PHONE)
        ]
        await ledger.change(lambda _: Decision(None, (PutUser(ALICE), *edits)))
        for node in tuple(ledger.world.nodes.values()):
            ledger.see(node.id, replace(node.presence, online=True))
        nodes, tokens = Nodes(), count()
        made: list[Bed] = []
        probes = Probes(
            ledger,
            nodes,
            server_url=URL,
            clock=lambda: made[0].now,
            token=lambda: f"token{next(tokens)}",
        )
        made.append(Bed(ledger, nodes, probes))
        yield made[0]


async def test_a_network_with_one_carrier_is_not_asked_about(tmp_path: Path) -> None:
    async with bed(tmp_path / "db", carriers=(ONE,)) as it:
        it.now += 1
        it.probes.step()

        assert it.nodes.asked == []


async def test_somebody_who_is_no_carrier_pings_and_the_carriers_show_a_sign(
    tmp_path: Path,
) -> None:
    async with bed(tmp_path / "db") as it:
        it.now += 1
        it.probes.step()
        asked = {(i, q.types, q.ip) for i, q in it.nodes.asked}

        assert asked == {
            (ONE, "", ""),
            (OTHER, "", ""),
            (USER, "TSMP", it.address(ONE)),
            (USER, "TSMP", it.address(OTHER)),
            # Nobody has reached them so far, so they are asked to try it, too.
            (ONE, "TSMP", it.address(USER)),
            (OTHER, "TSMP", it.address(USER)),
        }


async def test_a_carrier_that_is_reached_need_not_ping(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.pass_time(3)
        it.now += STEP
        it.probes.step()

        assert {i for i, q in it.nodes.asked if q.types} == {USER}


async def test_a_phone_is_asked_only_if_nobody_else_can_be(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.nodes.connected_ids = frozenset({ONE, OTHER, PHONE})
        it.now += 1
        it.probes.step()

        assert (PHONE, it.address(ONE)) in {(i, q.ip) for i, q in it.nodes.asked}


async def test_every_question_has_an_address_of_its_own_on_the_noise_connection(
    tmp_path: Path,
) -> None:
    async with bed(tmp_path / "db") as it:
        it.now += 1
        it.probes.step()
        urls = [q.url for _, q in it.nodes.asked]

        assert len(set(urls)) == len(urls)
        assert all(q.url_is_noise for _, q in it.nodes.asked)


async def test_a_dead_primary_loses_its_network_and_does_not_take_it_back(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.pass_time(5)
        assert it.primary == ONE
        it.nodes.dead = {it.address(ONE)}
        it.pass_time(4)
        assert it.primary == OTHER
        assert not it.ledger.world.nodes[ONE].presence.reachable
        it.nodes.dead = set()
        it.pass_time(20)

        assert it.primary == OTHER
        assert it.ledger.world.nodes[ONE].presence.reachable


async def test_both_changes_are_in_one_world(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        seen: list[tuple[bool, bool]] = []
        it.ledger.on_change(
            lambda w: seen.append((NET in w.nodes[ONE].routes, NET in w.nodes[OTHER].routes))
        )
        it.nodes.dead = {it.address(ONE)}
        it.pass_time(5)

        assert set(seen) <= {(True, False), (False, True)}
        assert (False, True) in seen


async def test_an_answer_counts_once_and_only_from_who_was_asked(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.now += 1
        it.probes.step()
        asked, question = next((i, q) for i, q in it.nodes.asked if q.types)
        token = token_of(question)

        assert not it.probes.answer(token, machine(99), GOOD)
        assert not it.probes.answer("of nobody", it.machine(asked), GOOD)
        assert it.probes.answer(token, it.machine(asked), GOOD)
        assert not it.probes.answer(token, it.machine(asked), GOOD)


async def test_an_error_is_an_answer_but_no_sign_of_life(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.pass_time(5)
        bad = write_json(PingResponse(type="TSMP", err="no such peer"))
        for _ in range(16):
            it.now += STEP
            it.probes.step()
            for node_id, question in it.nodes.asked:
                is_lost = question.types and it.address(ONE) in {question.ip, it.address(node_id)}
                body = bad if is_lost else GOOD
                assert it.probes.answer(token_of(question), it.machine(node_id), body)
            it.nodes.asked.clear()

        assert it.primary == OTHER


async def test_nonsense_is_malformed(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.now += 1
        it.probes.step()
        asked, question = next((i, q) for i, q in it.nodes.asked if q.types)

        with pytest.raises(Malformed):
            it.probes.answer(token_of(question), it.machine(asked), b"[")


async def test_questions_are_a_second_apart(tmp_path: Path) -> None:
    async with bed(tmp_path / "db") as it:
        it.now += 1
        it.probes.step()
        it.nodes.asked.clear()
        it.now += ASK_EVERY / 2
        it.probes.step()
        early = len(it.nodes.asked)
        it.now += ASK_EVERY / 2
        it.probes.step()

        assert early == 0
        assert it.nodes.asked
