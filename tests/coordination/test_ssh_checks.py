"""Who signs in over SSH under a rule with `check` waits until somebody says who it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.coordination.makers import ALICE, NOW, make_node, node_key, running_ledger

from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.records import DropNode, Edit, PolicyVersion, PutNode, PutPolicy, PutUser
from gatepost.coordination.ssh_actions import PATH, SshActions
from gatepost.coordination.ssh_checks import LIFETIME, MOST, Check, SshChecks
from gatepost.coordination.world import Presence
from gatepost.errors import Malformed, RefusedError
from gatepost.net.control_server import ControlRequest

LAPTOP, SHOP = 1, 2
HOUR = 3600.0


def make_policy(number: int = 1, /, **rule: object) -> PutPolicy:
    usual = {"action": "check", "src": ["*"], "dst": ["autogroup:self"], "users": ["root"]}
    text = json.dumps({"ssh": [usual | rule | {"src": ["autogroup:member"]}]})
    return PutPolicy(PolicyVersion(id=number, text=text, author="a test", created=NOW))


@dataclass(slots=True)
class Bed:
    """Two machines of one user; time passes when a test says so."""

    ledger: Ledger
    now: float = NOW
    ids: int = 0
    checks: SshChecks = field(init=False)
    actions: SshActions = field(init=False)

    def __post_init__(self) -> None:
        self.checks = SshChecks(lambda: self.now, self._id)
        self.actions = SshActions(self.ledger, self.checks, lambda i: f"http://page/{i}")

    def _id(self) -> str:
        self.ids += 1
        return f"id{self.ids}"

    async def put(self, *edits: Edit) -> None:
        await self.ledger.change(lambda _: Decision(None, edits))

    async def ask(self, path: str = "1/to/2", by: int = SHOP, **query: str) -> dict[str, Any]:
        asked = {"local_user": "root"} | query
        answer = await self.actions.answer(make_request(path, by, asked))
        action: dict[str, Any] = json.loads(answer.body)
        return action

    async def follow(self, action: dict[str, Any]) -> dict[str, Any]:
        """Ask where the last answer says."""
        path, _, query = action["holdAndDelegate"].partition("?")
        pairs = dict(pair.split("=") for pair in query.split("&"))
        return await self.ask(path.partition(PATH)[2], **pairs)


def make_request(path: str, by: int, query: dict[str, str]) -> ControlRequest:
    return ControlRequest(
        method="GET", path=PATH + path, query=query, headers={}, body=b"",
        machine=make_node(by).machine, version=131, peer="192.0.2.1",
    )  # fmt: skip


@asynccontextmanager
async def running_bed(path: Path, policy: PutPolicy | None = None) -> AsyncGenerator[Bed]:
    async with running_ledger(path / "db.sqlite") as ledger:
        bed = Bed(ledger)
        nodes = (PutNode(make_node(i)) for i in (LAPTOP, SHOP))
        await bed.put(PutUser(ALICE), *nodes, policy or make_policy())
        yield bed


async def test_who_is_confirmed_gets_in(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        waiting = asyncio.create_task(bed.follow(first))  # noqa: TID251  # the test waits for it
        await asyncio.sleep(0)
        bed.checks.decide(bed.checks.all()[0], "approved")

        assert "show http://page/id1" in first["message"]
        assert (await waiting)["accept"] is True
        assert bed.checks.all() == []


async def test_who_is_denied_is_told(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        bed.checks.decide(bed.checks.all()[0], "denied")
        said = await bed.follow(first)

        assert (said["reject"], "accept" in said) == (True, False)
        assert "denied" in said["message"]


@pytest.mark.parametrize(
    ("period", "later", "is_asked"),
    [
        ({}, 12 * HOUR - 1, False),
        ({}, 12 * HOUR, True),
        ({"checkPeriod": "1h"}, HOUR - 1, False),
        ({"checkPeriod": "1h"}, HOUR, True),
        ({"checkPeriod": "always"}, 0.0, True),
    ],
)
async def test_a_confirmation_holds_for_its_period(
    tmp_path: Path, period: dict[str, str], later: float, *, is_asked: bool
) -> None:
    async with running_bed(tmp_path, make_policy(1, **period)) as bed:
        await bed.ask()
        bed.checks.decide(bed.checks.all()[0], "approved")
        bed.now += later

        assert ("holdAndDelegate" in await bed.ask()) is is_asked


async def test_a_confirmation_is_for_these_two_and_this_login_of_the_machine(
    tmp_path: Path,
) -> None:
    async with running_bed(tmp_path) as bed:
        await bed.ask()
        bed.checks.decide(bed.checks.all()[0], "approved")
        back = await bed.ask("2/to/1", by=LAPTOP)
        await bed.put(PutNode(replace(make_node(LAPTOP), key=node_key(7))))
        anew = await bed.ask()

        assert "holdAndDelegate" in back
        assert "holdAndDelegate" in anew


async def test_a_check_of_another_sign_in_is_worth_nothing(tmp_path: Path) -> None:
    async with running_bed(tmp_path, make_policy(users=["root", "bin"])) as bed:
        await bed.ask(local_user="bin")
        bed.checks.decide(bed.checks.all()[0], "approved")

        assert "holdAndDelegate" in await bed.ask("2/to/1", by=LAPTOP, check="id1")


async def test_after_a_restart_the_check_begins_anew(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        again = await Bed(bed.ledger, ids=4).follow(first)

        assert again["holdAndDelegate"].endswith("&check=id5")
        assert "show http://page/id5" in again["message"]


async def test_what_the_policy_says_now_counts(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        await bed.put(make_policy(2, users=["bin"]))
        bed.checks.decide(bed.checks.all()[0], "approved")
        refused = await bed.follow(first)
        await bed.put(make_policy(3, action="accept"))

        assert refused["reject"] is True
        assert (await bed.ask())["accept"] is True


async def test_an_expired_machine_gets_in_nowhere(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        bed.ledger.see(LAPTOP, Presence(online=True, expired=True))

        assert (await bed.ask())["reject"] is True


async def test_who_is_deleted_while_a_check_waits_is_refused(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        waiting = asyncio.create_task(bed.follow(first))  # noqa: TID251  # the test waits for it
        await asyncio.sleep(0)
        await bed.put(DropNode(LAPTOP))
        bed.checks.decide(bed.checks.all()[0], "approved")

        with pytest.raises(RefusedError, match="no node 1"):
            await waiting


async def test_who_logs_in_anew_while_a_check_waits_is_checked_anew(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        first = await bed.ask()
        waiting = asyncio.create_task(bed.follow(first))  # noqa: TID251  # the test waits for it
        await asyncio.sleep(0)
        await bed.put(PutNode(replace(make_node(LAPTOP), key=node_key(7))))
        bed.checks.decide(bed.checks.all()[0], "approved")

        assert (await waiting)["holdAndDelegate"].endswith("&check=id2")


async def test_only_the_machine_that_is_signed_in_to_may_ask(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        for path, by in (("1/to/2", LAPTOP), ("1/to/9", SHOP), ("9/to/2", SHOP)):
            with pytest.raises(RefusedError):
                await bed.ask(path, by)

        assert bed.checks.all() == []


@pytest.mark.parametrize("path", ["", "1/to/", "1/to/2/", "x/to/2", "1/to/-2", "1/to/" + "2" * 17])
async def test_a_path_that_names_no_two_nodes_is_refused(tmp_path: Path, path: str) -> None:
    async with running_bed(tmp_path) as bed:
        with pytest.raises(Malformed):
            await bed.ask(path)


@pytest.mark.parametrize("login", ["", "x" * 257, "a\nb"])
async def test_a_login_that_is_none_is_refused(tmp_path: Path, login: str) -> None:
    async with running_bed(tmp_path) as bed:
        with pytest.raises(Malformed):
            await bed.ask(local_user=login)


def open_one(checks: SshChecks, login: str = "root") -> Check:
    return checks.open(make_node(LAPTOP), make_node(SHOP), login)


def test_one_sign_in_waits_once_and_is_decided_once() -> None:
    checks = SshChecks(lambda: NOW, iter(map(str, range(MOST))).__next__)
    check = open_one(checks)
    checks.decide(check, "denied")

    with pytest.raises(RefusedError, match="denied already"):
        checks.decide(check, "approved")
    again = open_one(checks)
    assert again is not check
    assert open_one(checks) is again


@pytest.mark.parametrize(
    ("pairs", "most", "refused", "let_in"),
    [
        ([(1, 2)] * MOST, 10, "10 sign-ins from box-1 to box-2", (1, 3)),
        ([(n, 2) for n in range(3, MOST)], 100, "100 sign-ins to box-2", (1, 3)),
        ([(1, n) for n in range(2, MOST)], 100, "100 sign-ins from box-1", (2, 3)),
    ],
)
def test_no_machine_uses_up_the_room_of_others(
    pairs: list[tuple[int, int]], most: int, refused: str, let_in: tuple[int, int]
) -> None:
    checks = SshChecks(lambda: NOW, iter(map(str, range(MOST))).__next__)

    def open_all() -> None:
        for number, (source, destination) in enumerate(pairs):
            checks.open(make_node(source), make_node(destination), f"u{number}")

    with pytest.raises(RefusedError, match=refused):
        open_all()
    assert len(checks.all()) == most
    source, destination = map(make_node, let_in)
    assert checks.open(source, destination, "root") in checks.all()


def test_who_was_decided_takes_no_room_of_who_waits() -> None:
    checks = SshChecks(lambda: NOW, iter(map(str, range(MOST))).__next__)
    for _ in range(50):
        checks.decide(open_one(checks), "approved")

    assert open_one(checks) in checks.all()


def test_all_together_are_bounded_and_expire() -> None:
    now = [NOW]
    checks = SshChecks(lambda: now[0], iter(map(str, range(2 * MOST))).__next__)
    nodes = [make_node(number) for number in range(1, 80)]
    pairs = ((a, b) for a in nodes[:40] for b in nodes[40:])
    first, *_ = [checks.open(*next(pairs), "root") for _ in range(MOST)]
    with pytest.raises(RefusedError, match="1000 sign-ins wait"):
        open_one(checks)
    now[0] += LIFETIME

    assert open_one(checks).id == str(MOST)
    assert (checks.find(first.id), first.decided.is_set()) == (None, True)
