"""A policy that is set on a running server is what its nodes are told."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from pathlib import Path

import pytest
from tests.coordination.serving import VERSION, RunningServer, box_of, take

from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.admin import NodeRequest
from gatepost.model.policy import CanRequest, PolicyRequest, UndoRequest
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapRequest

OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}\n'
WEB = """// who may reach the web servers
{
  "tagOwners": {"tag:web": []},
  "acls": [
    {"action": "accept", "src": ["pia@"], "dst": ["tag:web:80"]}, // only http
  ],
  "tests": [{"src": "pia@", "accept": ["tag:web:80"], "deny": ["tag:web:22"]}],
}
"""


@pytest.fixture(autouse=True)
def opened(server: RunningServer) -> None:
    """Begin every test with an open mesh."""
    server.admin.set_policy(PolicyRequest(text=OPEN))


async def test_a_policy_is_set_asked_about_and_undone(server: RunningServer) -> None:
    admin = server.admin
    key = server.make_key("pia", reusable=True)
    async with box_of(server, "laptop") as laptop, box_of(server, "shop") as shop:
        await laptop.register(key)
        await shop.register(key)
        nodes = {n.name: n for n in admin.nodes()}
        await asyncio.to_thread(_tag, server, nodes["shop"].id)

        preview = admin.preview_policy(PolicyRequest(text=WEB))
        saved = admin.set_policy(PolicyRequest(text=WEB, note="web only"))
        yes = admin.can(CanRequest(source="laptop", destination="shop", port=80))
        no = admin.can(CanRequest(source="laptop", destination="shop", port=22))

        assert {(p.source, p.destination) for p in preview.lost} >= {("shop", "laptop")}
        assert saved.text == admin.policy().text == WEB
        assert (yes.allowed, no.allowed) == (True, False)
        assert [(r.section, r.number, r.line) for r in yes.rules] == [("acls", 1, 5)]
        assert {m.name: m.nodes for m in yes.rules[0].meanings} == {
            "pia@": ("laptop",),
            "tag:web": ("shop",),
        }

        undone = admin.undo_policy(UndoRequest())

        assert undone.text == OPEN
        assert admin.can(CanRequest(source="shop", destination="laptop", port=22)).allowed
        assert [v.note for v in admin.policy_history()][:2] == [
            f"version {saved.version - 1} again",
            "web only",
        ]
        assert admin.policy_version(saved.version).text == WEB
        assert admin.policy_version(saved.version).author


def _tag(server: RunningServer, node_id: int) -> None:
    server.admin.change_node(str(node_id), NodeRequest(tags=("tag:web",)))


async def test_a_preview_counts_the_routes_that_the_policy_would_approve(
    server: RunningServer,
) -> None:
    key = server.make_key("rae", reusable=True)
    approving = OPEN.replace("}]}", '}], "autoApprovers": {"routes": {"10.88.0.0/16": ["rae@"]}}}')
    async with box_of(server, "gate") as gate, box_of(server, "guest") as guest:
        await gate.register(key)
        await guest.register(key)
        hostinfo = Hostinfo(hostname="gate", os="linux", routable_ips=("10.88.0.0/16",))
        await gate.client.update(
            MapRequest(version=VERSION, node_key=gate.node.public, hostinfo=hostinfo)
        )
        preview = server.admin.preview_policy(PolicyRequest(text=approving))

        assert ("guest", "10.88.0.0/16", "*") in {
            (p.source, p.destination, p.what) for p in preview.gained
        }
        assert preview.lost == ()
        assert not any(n.approved_routes for n in server.admin.nodes() if n.name == "gate")


async def test_nodes_hear_of_a_new_policy_without_reconnecting(server: RunningServer) -> None:
    key = server.make_key("quinn", reusable=True)
    async with box_of(server, "ear") as box, box_of(server, "other") as other:
        await box.register(key)
        await other.register(key)
        async with aclosing(box.poll()) as stream:
            first = await take(stream)
            assert first.peers

            server.admin.set_policy(PolicyRequest(text='{"acls": []}'))

            gone: set[int] = set()
            async with asyncio.timeout(5):
                while not gone:
                    gone |= set((await take(stream)).peers_removed or ())
            assert gone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"acls": [\n  {"action": "drop"}]}', 'line 2, column 14: action="drop" is not supported'),
        (WEB.replace('["tag:web:22"]', '["tag:web:80"]'), "want: Drop, got: Accept"),
        ('{"acls": [}', "line 1, column 11"),
    ],
)
def test_a_policy_that_is_refused_changes_nothing(
    server: RunningServer, text: str, message: str
) -> None:
    server.make_key("pia")
    before = server.admin.policy()

    with pytest.raises(SettingsError) as caught:
        server.admin.set_policy(PolicyRequest(text=text))

    assert message in str(caught.value)
    assert server.admin.policy() == before
    assert server.admin.check_policy(PolicyRequest(text=text)).problems


def test_of_two_who_saw_the_same_policy_one_is_refused(server: RunningServer) -> None:
    etag = server.admin.policy().etag

    def change(number: int) -> bool:
        text = f"{OPEN}// {number}\n"
        try:
            server.admin.set_policy(PolicyRequest(text=text, etag=etag))
        except RefusedError as refusal:
            return "has changed since" not in str(refusal)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(8))) == 1


def test_questions_about_nobody_are_refused(server: RunningServer) -> None:
    for source in ("ghost", "tag:ghost", "ghost@"):
        with pytest.raises(NotFoundError):
            server.admin.can(CanRequest(source=source, destination="192.0.2.1", port=1))
    with pytest.raises(NotFoundError, match="there is no version 9999"):
        server.admin.undo_policy(UndoRequest(version=9999))


def test_a_long_policy_is_taken(server: RunningServer) -> None:
    rules = "\n".join(
        f'{{"action": "accept", "src": ["*"], "dst": ["10.0.{i // 250}.1:{i + 1}"]}},'
        for i in range(5000)
    )

    assert server.admin.set_policy(PolicyRequest(text=f'{{"acls": [\n{rules}\n]}}')).version


def test_the_policy_survives_a_power_cut(server: RunningServer) -> None:
    server.admin.set_policy(PolicyRequest(text=OPEN + "// kept\n"))
    server.kill()
    server.start()

    assert server.admin.policy().text == OPEN + "// kept\n"


def test_a_policy_from_a_file_is_in_force_and_cannot_be_set(tmp_path: Path) -> None:
    path = tmp_path / "policy.hujson"
    path.write_text(OPEN)
    running = RunningServer(tmp_path, more=f'policy-file = "{path}"\n')
    running.start()
    try:
        assert running.admin.policy().text == OPEN
        with pytest.raises(RefusedError, match="comes from"):
            running.admin.set_policy(PolicyRequest(text="{}"))
    finally:
        assert running.stop() == 0


def test_a_stored_policy_that_cannot_be_read_is_replaced_from_a_file(tmp_path: Path) -> None:
    running = RunningServer(tmp_path)
    running.start()
    running.admin.set_policy(PolicyRequest(text=OPEN))
    assert running.stop() == 0
    with closing(sqlite3.connect(running.state / "coordination.sqlite")) as database, database:
        database.execute("UPDATE policies SET text = '{\"newer\": []}'")

    with pytest.raises(AssertionError, match="cannot be read any more"):
        running.start()

    path = tmp_path / "policy.hujson"
    path.write_text(OPEN)
    running.settings.write_text(f'policy-file = "{path}"\n{running.settings.read_text()}')
    running.start()
    assert running.admin.policy().text == OPEN
    assert running.stop() == 0
