"""The administration API, where several requests become one transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.coordination.makers import ALICE, BOB, MESH, NOW, machine, make_node, running_ledger

from gatepost.coordination.admin import AdminApi
from gatepost.coordination.delta import Messages
from gatepost.coordination.ledger import Decision
from gatepost.coordination.logins import Logins
from gatepost.coordination.presence import Presences
from gatepost.coordination.records import PutNode, PutUser
from gatepost.coordination.registrar import Registrar
from gatepost.coordination.stream import Streams
from gatepost.localapi.router import Router
from gatepost.model.admin import KeyRequest, NodeRequest, UserRequest
from gatepost.net.http_server import Peer, Request, Response


@asynccontextmanager
async def running_api(path: Path) -> AsyncGenerator[Router]:
    """Serve node 1 of Alice, and Bob, who has none."""
    async with running_ledger(path / "db.sqlite") as ledger:
        edits = (PutUser(ALICE), PutUser(BOB), PutNode(make_node(1)))
        await ledger.change(lambda _: Decision(None, edits))
        presences = Presences(ledger, lambda: NOW, 60.0)
        logins = Logins(lambda: NOW, lambda: "id")
        registrar = Registrar(ledger, logins, presences, key_expiry=None, login_url=str)
        streams = Streams(
            ledger, Messages(MESH, lambda _world, _node: ()), presences, lambda: NOW, lambda: 0.5
        )
        api = AdminApi(
            ledger,
            logins,
            registrar,
            streams,
            MESH,
            server_url="http://server.test",
            public_key=machine(9),
        )
        yield api.router(lambda _peer: None)


def make_call(method: str, path: str, body: msgspec.Struct | None = None) -> Request:
    raw = b"" if body is None else msgspec.json.encode(body)
    return Request(
        method=method, path=path, query={}, headers={}, body=raw, peer=Peer(), secure=False
    )


@pytest.mark.parametrize(
    ("path", "first", "what"),
    [
        ("/v1/nodes/1", make_call("PATCH", "/v1/nodes/1", NodeRequest(name="new")), "node 1"),
        ("/v1/users/bob", make_call("PATCH", "/v1/users/bob", UserRequest(role="admin")), "user 2"),
        ("/v1/users/bob", make_call("POST", "/v1/keys", KeyRequest(user="bob")), "key 1"),
    ],
    ids=["node", "user", "key"],
)
async def test_who_changes_what_another_deletes_at_once_is_told_so(
    tmp_path: Path, path: str, first: Request, what: str
) -> None:
    async with running_api(tmp_path) as router:
        changed, deleted = await asyncio.gather(router(first), router(make_call("DELETE", path)))

    assert deleted.status == 200
    assert changed.status == 404
    assert what in said(changed)


def said(answer: Response) -> str:
    return str(json.loads(answer.body)["error"])
