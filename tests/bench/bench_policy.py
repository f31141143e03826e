"""How fast a policy compiles: `bench_policy.py [NODES]`.

2,000 nodes, 200 rules and 50 groups. Whole means that for every node its
filter, peers, routes, capabilities and SSH rules are made. A change means that
one node gets another tag: then everybody's peers and routes are made, and
whose filter is another is known; the filter itself is made for that node (and
for others when it is sent to them). Counted is the processor's time, as a busy
machine says nothing about the compiler. The limits are those of the issue: 2 s
and 20 ms.
"""

from __future__ import annotations

import gc
import json
import random  # noqa: TID251  # the same mesh every time, not secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from statistics import median

from tests.bench.figures import Figure, finish

from gatepost.policy.compiled import Compiled
from gatepost.policy.inventory import Inventory, Machine, Member, Role
from gatepost.policy.read import read

NODES = 2000
RULES = 200
GROUPS = 50
USERS = 400
TAGS = 40
ROUTERS = 40
CHANGES = 21
LIMITS = {"whole_s": 2.0, "change_ms": 20.0}
_SEED = 20260401


def main() -> int:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else NODES
    dice = random.Random(_SEED)  # noqa: S311  # the same mesh every time
    policy = read(policy_text(dice))
    inventory = make_inventory(nodes, dice)
    whole = min(seconds(lambda: make_all(Compiled.of(policy, inventory))) for _ in range(3))
    compiled = Compiled.of(policy, inventory)
    make_all(compiled)
    gc.freeze()  # as the server does: what stays is not looked through for garbage
    changes: list[float] = []
    for _ in range(CHANGES):
        machine = inventory.machines[dice.randint(1, nodes)]
        changed = replace(machine, tags=(f"tag:t{dice.randrange(TAGS)}",))
        inventory = replace(inventory, machines={**inventory.machines, machine.id: changed})
        began = time.process_time()
        compiled = compiled.after(inventory, [machine.id])
        for other in inventory.machines:
            compiled.view(other)
            compiled.filter_key(other)
        make(compiled, machine.id)
        changes.append(time.process_time() - began)
    return finish(
        [
            Figure(name="nodes", value=nodes, unit=""),
            Figure(name="whole", value=whole, unit="s", limit=LIMITS["whole_s"]),
            Figure(
                name="change", value=median(changes) * 1000, unit="ms", limit=LIMITS["change_ms"]
            ),
            Figure(
                name="change worst",
                value=max(changes) * 1000,
                unit="ms",
                limit=LIMITS["change_ms"],
            ),
        ]
    )


def make_all(compiled: Compiled) -> None:
    for machine in compiled.machines:
        make(compiled, machine)


def make(compiled: Compiled, machine: int) -> None:
    compiled.view(machine)
    compiled.filter(machine)
    compiled.capabilities(machine)
    compiled.ssh_rules(machine)


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def policy_text(dice: random.Random) -> str:
    """Return a policy of which most rules are about groups and tags, some about addresses."""
    users = [f"user{n}@example.com" for n in range(USERS)]
    groups = {f"group:g{n}": dice.sample(users, USERS // 20) for n in range(GROUPS)}
    acls = [_rule(number, dice) for number in range(RULES)]
    ssh = [
        {
            "action": dice.choice(("accept", "check")),
            "src": [f"group:g{n}"],
            "dst": [f"tag:t{n}"],
            "users": ["root", "autogroup:nonroot"],
        }
        for n in range(10)
    ]
    return json.dumps(
        {
            "groups": groups,
            "tagOwners": {f"tag:t{n}": ["autogroup:admin"] for n in range(TAGS)},
            "hosts": {f"net{n}": f"10.{n}.0.0/16" for n in range(ROUTERS)},
            "acls": acls,
            "grants": [
                {"src": ["group:g1"], "dst": ["tag:t1"], "app": {"example.com/cap/x": [{"a": 1}]}}
            ],
            "ssh": ssh,
            "nodeAttrs": [{"target": ["tag:t1"], "attr": ["funnel"]}],
        }
    )


def _rule(number: int, dice: random.Random) -> dict[str, object]:
    port = dice.choice(("22", "80,443", "*", "1000-2000"))
    group, tag = f"group:g{dice.randrange(GROUPS)}", f"tag:t{dice.randrange(TAGS)}"
    kinds = (
        ([group], [f"{tag}:{port}"]),
        ([group, tag], [f"tag:t{dice.randrange(TAGS)}:{port}", f"{group}:{port}"]),
        ([tag], [f"net{dice.randrange(ROUTERS)}:{port}"]),
        (["autogroup:member"], [f"{tag}:{port}", "autogroup:self:*"]),
        (["*"], [f"{tag}:{port}"]),
    )
    source, destination = kinds[number % len(kinds)]
    return {"action": "accept", "src": source, "dst": destination}


def make_inventory(nodes: int, dice: random.Random) -> Inventory:
    """Return a mesh of which half is tagged; some machines are routers."""
    members = {
        n + 1: Member(id=n + 1, login=f"user{n}@example.com", role=Role.MEMBER)
        for n in range(USERS)
    }
    machines: dict[int, Machine] = {}
    for number in range(1, nodes + 1):
        is_tagged = dice.random() < 0.5
        routes = (ip_network(f"10.{number}.0.0/16"),) if number <= ROUTERS else ()
        machines[number] = Machine(
            id=number,
            name=f"node-{number}",
            addresses=(
                IPv4Address("100.64.0.0") + number,
                IPv6Address("fd7a:115c:a1e0::") + number,
            ),
            owner=dice.randint(1, USERS),
            tags=(f"tag:t{dice.randrange(TAGS)}",) if is_tagged else (),
            routes=routes,
        )
    return Inventory(members=members, machines=machines)


if __name__ == "__main__":
    sys.exit(main())
