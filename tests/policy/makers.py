"""Small meshes and policies for the tests of this room."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_network

from gatepost.policy.compiled import Compiled
from gatepost.policy.inventory import Inventory, Machine, Member, Role
from gatepost.policy.read import read

ALICE, BOB, CAROL = 1, 2, 3


def make_machine(
    number: int,
    *,
    owner: int = ALICE,
    tags: tuple[str, ...] = (),
    routes: tuple[str, ...] = (),
    is_exit: bool = False,
    facts: dict[str, str | bool | float] | None = None,
) -> Machine:
    return Machine(
        id=number,
        name=f"box-{number}",
        addresses=(
            IPv4Address("100.64.0.0") + number,
            IPv6Address("fd7a:115c:a1e0::") + number,
        ),
        owner=owner,
        tags=tags,
        routes=tuple(map(ip_network, routes)),
        is_exit=is_exit,
        facts=facts or {},
    )


def make_inventory(*machines: Machine) -> Inventory:
    """Return a mesh of alice, who owns it, bob, who administrates it, and carol."""
    members = (
        Member(id=ALICE, login="alice@example.com", role=Role.OWNER),
        Member(id=BOB, login="bob@example.com", role=Role.ADMIN),
        Member(id=CAROL, login="carol@example.com"),
    )
    return Inventory(members={m.id: m for m in members}, machines={m.id: m for m in machines})


def make_policy(**sections: object) -> str:
    owners = {f"tag:{n}": ["autogroup:admin"] for n in ("web", "db", "router", "exit")}
    return json.dumps({"tagOwners": owners, **sections})


def accept(source: str | list[str], destination: str | list[str], **more: str) -> dict[str, object]:
    def several(names: str | list[str]) -> list[str]:
        return [names] if isinstance(names, str) else names

    return {"action": "accept", "src": several(source), "dst": several(destination), **more}


def compiled(inventory: Inventory, **sections: object) -> Compiled:
    return Compiled.of(read(make_policy(**sections)), inventory)
