"""Small values for the tests of this room, each with a default for what does not matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from sqlalchemy import Engine

from gatepost.coordination.database.store import Store
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.records import (
    Counters,
    NodeRecord,
    PreAuthKey,
    Records,
    Report,
    User,
)
from gatepost.coordination.registration import Terms, digest_of
from gatepost.coordination.world import World
from gatepost.model.keys import DiscoPublic, MachinePublic, NodePublic
from gatepost.wire.derp_map import DerpMap
from gatepost.wire.hostinfo import Hostinfo, NetInfo
from gatepost.wire.register import RegisterAuth, RegisterRequest

NOW = 1_800_000_000.0  # 2027
MESH = Mesh(domain="mesh.example", derp_map=DerpMap(regions={}, omit_default_regions=True))
ALICE = User(id=1, name="alice", created=NOW)
BOB = User(id=2, name="bob", created=NOW)
TERMS = Terms(now=NOW, key_expiry=1000.0)
SECRET = "gpauth-secret"  # noqa: S105  # a test's


def machine(number: int) -> MachinePublic:
    return MachinePublic(bytes([number]) * 32)


def node_key(number: int) -> NodePublic:
    return NodePublic(number.to_bytes(32, "big"))


def disco_key(number: int) -> DiscoPublic:
    return DiscoPublic(number.to_bytes(32, "big"))


def make_node(number: int = 1, **changes: object) -> NodeRecord:
    values: dict[str, object] = {
        "id": number,
        "user_id": ALICE.id,
        "machine": MachinePublic(number.to_bytes(32, "big")),
        "key": node_key(number),
        "label": f"box-{number}",
        "address": IPv4Address("100.64.0.0") + number,
        "created": NOW,
    }
    return NodeRecord(**(values | changes))  # type: ignore[arg-type]  # a maker takes any field


def make_key(number: int = 1, secret: str = SECRET, **changes: object) -> PreAuthKey:
    values: dict[str, object] = {
        "id": number,
        "user_id": ALICE.id,
        "digest": digest_of(secret),
        "prefix": secret[:8],
        "created": NOW,
        "expires": NOW + 100,
    }
    return PreAuthKey(**(values | changes))  # type: ignore[arg-type]  # a maker takes any field


def make_records(*things: NodeRecord | PreAuthKey | User) -> Records:
    """Return records with alice, bob and these things."""
    nodes = [t for t in things if isinstance(t, NodeRecord)]
    keys = [t for t in things if isinstance(t, PreAuthKey)]
    users = [ALICE, BOB, *(t for t in things if isinstance(t, User))]
    counters = Counters(
        user=max(u.id for u in users) + 1,
        key=max((k.id for k in keys), default=0) + 1,
        node=max((n.id for n in nodes), default=0) + 1,
    )
    return Records.of(users, keys, nodes, counters)


def make_report(number: int = 1, **changes: object) -> Report:
    values: dict[str, object] = {
        "hostinfo": Hostinfo(
            hostname=f"box-{number}", os="linux", net_info=NetInfo(preferred_derp=900)
        ),
        "endpoints": ("192.0.2.1:41641",),
        "disco": disco_key(number),
        "version": 131,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]  # a maker takes any field


def make_world(*nodes: NodeRecord, reports: dict[int, Report] | None = None) -> World:
    return World.of(make_records(*nodes), reports or {}, NOW)


def make_request(number: int = 1, *, auth: str = "", **changes: object) -> RegisterRequest:
    values: dict[str, object] = {
        "version": 131,
        "node_key": node_key(number),
        "hostinfo": Hostinfo(hostname="box", os="linux"),
        "auth": RegisterAuth(auth_key=auth) if auth else None,
    }
    return RegisterRequest(**(values | changes))  # type: ignore[arg-type]  # a maker takes any field


@asynccontextmanager
async def running_ledger(
    path: Path, clock: Callable[[], float] = lambda: NOW, engine: Engine | None = None
) -> AsyncGenerator[Ledger]:
    """Run a ledger on a database file; leaving the block is an orderly stop."""
    store = Store(path, engine)
    ledger = Ledger(store, *store.read(), clock)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ledger.run())
        try:
            yield ledger
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    store.close()
