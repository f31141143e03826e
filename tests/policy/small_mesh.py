"""A small mesh: two people, a tagged server, and a router with a subnet behind it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from gatepost.policy.inventory import Inventory, Machine, Member, Role

ALICE = Member(id=1, login="alice@example.com", role=Role.OWNER)
BOB = Member(id=2, login="bob@example.com")


def make_machine(number: int, *, owner: int = 0, tag: str = "", route: str = "") -> Machine:
    return Machine(
        id=number,
        name=f"m{number}",
        addresses=(ip_address(f"100.64.0.{number}"), ip_address(f"fd7a:115c:a1e0::{number}")),
        owner=owner,
        tags=(tag,) if tag else (),
        routes=(ip_network(route),) if route else (),
        facts={"node:os": "linux"},
    )


MESH = Inventory(
    members={1: ALICE, 2: BOB},
    machines={
        1: make_machine(1, owner=1),
        2: make_machine(2, owner=2),
        3: make_machine(3, tag="tag:web"),
        4: make_machine(4, tag="tag:router", route="10.0.0.0/8"),
        5: make_machine(5, owner=1),
    },
)
