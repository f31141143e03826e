"""Compares what our policy engine answers with what Tailscale's control plane answered.

    python tests/captures.py DIR...

Each DIR (or file) holds captures: one JSON object a line in files *.jsonl. A
line is printed for each mismatch, and last "matched N of M". The status is 0
only if all match.

Compared are the status and the message of a refusal, and for each node of a
taken policy the packet filter, SSH rules, capabilities, allowed addresses, and
the peers with their routes. Not compared, as no capture says where they come
from: DNS settings, and `default-auto-update` where the tailnet's settings do
not mention it. Taken from the answer, because it was decided before the
capture began: which of several routers of one subnet is the first.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

from gatepost.coordination.policy.versions import examine
from gatepost.errors import GatepostError
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import IPNetwork
from gatepost.policy.approve import approved_by
from gatepost.policy.attributes import SUGGEST_EXIT_NODE
from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Directory
from gatepost.policy.document import Policy
from gatepost.policy.intervals import span_of, text_of
from gatepost.policy.inventory import NOBODY, Inventory, Machine, Member, Role, Tailnet
from gatepost.policy.read import read
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.policy.routing import Precedence, routes_of
from gatepost.wire.go_json import write_json

Json = dict[str, Any]  # a capture, or a part of one
_AUTO_UPDATE = "default-auto-update"
_UNREADABLE = "unreadable"  # in place of a capture: why it is none
_STUMBLES = (  # over a capture of another shape, or a mistake of ours
    GatepostError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One capture, with machines and users numbered in the order of their names."""

    json: Json

    @property
    def name(self) -> str:
        return str(self.json.get("id", "a case without an id"))

    @property
    def expected(self) -> Json:
        return dict(self.json["expect"])

    @property
    def nodes(self) -> Mapping[str, Json]:
        return dict(self.json["nodes"])

    @property
    def ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(sorted(self.nodes), start=1)}


def main(arguments: Sequence[str]) -> int:
    """Compare all captures in the files and folders named; return the exit status."""
    if not arguments:
        print("usage: python tests/captures.py DIR...", file=sys.stderr)
        return 2
    matched = total = 0
    for case in cases(map(Path, arguments)):
        total += 1
        mismatches = answer(case)
        matched += not mismatches
        for mismatch in mismatches:
            print(f"{case.name}: {mismatch}")
    print(f"matched {matched} of {total}")
    return 0 if total and matched == total else 1


def answer(case: Case) -> list[str]:
    """Return what differs; a case on which we stumble is a mismatch, and the others go on."""
    if _UNREADABLE in case.json:
        return [f"not a capture: {case.json[_UNREADABLE]}"]
    try:
        return compare(case)
    except _STUMBLES as error:
        return [f"failed: {error!r}"]


def cases(paths: Iterable[Path]) -> Iterator[Case]:
    """Yield the captures of files, and of the files *.jsonl in folders."""
    for path in paths:
        for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            with file.open(encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _case(line, f"{file.name}:{number}")


def _case(line: str, where: str) -> Case:
    """Return the capture of a line; what is none becomes a case that never matches."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Case({"id": where, _UNREADABLE: str(error)})
    if not isinstance(found, dict):
        return Case({"id": where, _UNREADABLE: f"it is a {type(found).__name__}"})
    return Case(cast(Json, found))


def compare(case: Case) -> list[str]:
    """Return what differs, one line each."""
    expected = case.expected
    try:
        policy = read(case.json["policy"])
        examine(case.json["policy"], inventory(case, policy))
    except PolicyRefusedError as refusal:
        if refusal.status != expected["status"]:
            return [f"status {refusal.status} ({refusal}), expected {expected['status']}"]
        body: Json = expected["body"] or {}
        wanted: str = body.get("message", "")
        return [] if wanted in str(refusal) else [f"message {str(refusal)!r} lacks {wanted!r}"]
    if expected["status"] != HTTPStatus.OK:
        return [f"status 200, not {expected['body']}, expected {expected['status']}"]
    return list(_compare_nodes(case, policy))


def _compare_nodes(case: Case, policy: Policy) -> Iterator[str]:
    compiled = Compiled.of(policy, inventory(case, policy))
    order = precedence(case, compiled)
    names = {number: name for name, number in case.ids.items()}
    for name, expected in case.expected["nodes"].items():
        number = case.ids[name]
        checks = (
            ("filter", _filter(compiled, number), _plain_filter(expected["packet_filter"])),
            ("ssh", _ssh(compiled.ssh_rules(number)), _ssh(expected["ssh_rules"])),
            ("capabilities", *_capabilities(case, compiled.capabilities(number), expected)),
            ("addresses", _allowed(compiled, number), frozenset(expected["allowed_ips"])),
            ("peers", _peers(compiled, number, order, names), _plain_peers(expected["peers"])),
        )
        for what, ours, theirs in checks:
            if ours != theirs:
                yield f"{name}: {what}: {_difference(ours, theirs)}"


def _difference(ours: object, theirs: object) -> str:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        one, other = cast("Json", ours), cast("Json", theirs)  # all our mappings are by name
        keys = [k for k in {**one, **other} if one.get(k) != other.get(k)]
        return "; ".join(f"{k}: {one.get(k)} instead of {other.get(k)}" for k in keys)
    if isinstance(ours, frozenset) and isinstance(theirs, frozenset):
        much = sorted(map(str, cast("frozenset[object]", ours - theirs)))  # of anything
        little = sorted(map(str, cast("frozenset[object]", theirs - ours)))  # of anything
        return f"too much {much}, missing {little}"
    return f"{ours} instead of {theirs}"


# The mesh of a capture.


def inventory(case: Case, policy: Policy | None) -> Inventory:
    """Return users and nodes; with a policy, routes that it approves are approved."""
    tailnet = case.json["tailnet"]
    members = {u["id"] + 1: _member(u, tailnet["owner"]) for u in case.json["users"]}
    owners = {u["name"]: u["id"] + 1 for u in case.json["users"]}
    ids = case.ids
    plain = {ids[n]: _machine(ids[n], n, node, owners) for n, node in case.nodes.items()}
    made = Inventory(
        members=members,
        machines=plain,
        tailnet=Tailnet(
            display_name=tailnet["owner"],
            has_tailnet_lock=True,
            auto_update=tailnet["settings"].get("devices_auto_updates_on"),
        ),
    )
    directory = Directory.of(made)
    machines = {
        ids[n]: _routed(plain[ids[n]], node, directory, policy) for n, node in case.nodes.items()
    }
    return Inventory(members=members, machines=machines, tailnet=made.tailnet)


def _member(user: Json, owner: str) -> Member:
    """Return a user; in the tailnet of the captures all but the owner are administrators."""
    login = user["email"] or user["name"]
    is_owner = owner in {user["email"], user["name"]}
    role = Role(user.get("role") or ("owner" if is_owner else "admin"))
    return Member(id=user["id"] + 1, login=login, role=role)


def _machine(number: int, name: str, node: Json, owners: Mapping[str, int]) -> Machine:
    return Machine(
        id=number,
        name=name,
        addresses=tuple(ip_address(str(node[f])) for f in ("ipv4", "ipv6") if node[f]),
        owner=owners.get(node.get("user") or "", NOBODY),
        tags=tuple(node["tags"] or ()),
    )


def _routed(machine: Machine, node: Json, directory: Directory, policy: Policy | None) -> Machine:
    announced = tuple(ip_network(str(r)) for r in node["routable_ips"] or ())
    approved = {ip_network(str(r)) for r in node["approved_routes"] or ()}
    if policy is not None:
        approved |= set(approved_by(policy, directory, machine.id, announced))
    carried = tuple(r for r in announced if r in approved)
    return Machine(
        id=machine.id,
        name=machine.name,
        addresses=machine.addresses,
        owner=machine.owner,
        tags=machine.tags,
        routes=tuple(r for r in carried if r not in EVERYWHERE),
        is_exit=all(r in carried for r in EVERYWHERE),
    )


def precedence(case: Case, compiled: Compiled) -> Precedence:
    """Return the routers of each subnet: first the one that most peers use in the capture."""
    seen: Counter[tuple[str, str]] = Counter()
    for node in case.expected["nodes"].values():
        for peer, shown in node["peers"].items():
            seen.update((peer, r) for r in shown.get("primary_routes") or ())
    found: dict[tuple[int, int], list[int]] = {}
    routes: set[IPNetwork] = {r for m in compiled.machines.values() for r in m.routes}
    for route in routes:
        carriers = [m for m in compiled.machines.values() if route in m.routes]
        ranked = sorted((-seen[m.name, str(route)], m.id) for m in carriers)
        found[span_of(route)] = [number for _, number in ranked]
    return found


# What we answer, and what was captured, in a form that can be compared.


def _filter(compiled: Compiled, number: int) -> frozenset[object]:
    rules = [r for part in compiled.filter(number).values() for r in part]
    return _plain_filter(json.loads(write_json(rules)))


def _plain_filter(rules: Iterable[Json] | None) -> frozenset[object]:
    """Return a filter as a set of what it lets in, so that no order counts."""
    found: set[object] = set()
    for rule in rules or ():
        sources = frozenset(rule.get("SrcIPs") or ())
        protocols = frozenset(rule.get("IPProto") or ())
        for door in rule.get("DstPorts") or ():
            ports = door["Ports"].get("First", 0), door["Ports"].get("Last", 0)
            found.add((sources, protocols, door["IP"], *ports))
        for grant in rule.get("CapGrant") or ():
            capabilities: Json = grant.get("CapMap") or {}
            for door in grant["Dsts"]:
                for name, values in capabilities.items():
                    found.add((sources, door, name, json.dumps(values, sort_keys=True)))
    return frozenset(found)


def _ssh(rules: Iterable[Json] | None) -> list[object]:
    return [
        rule | {"principals": sorted({json.dumps(p, sort_keys=True) for p in rule["principals"]})}
        for rule in rules or ()
    ]


def _capabilities(case: Case, ours: Mapping[str, Any], expected: Json) -> tuple[Json, Json]:
    theirs = dict(expected["cap_map"])
    mine = dict(ours)
    if "devices_auto_updates_on" not in case.json["tailnet"]["settings"]:
        theirs.pop(_AUTO_UPDATE, None)
    return mine, theirs


def _own(compiled: Compiled, number: int) -> list[str]:
    return [str(ip_network(a)) for a in compiled.addresses.of(number)]


def _shared(compiled: Compiled, viewer: int, other: int) -> list[str]:
    """Return the other's addresses that are of use: none of IPv4 if the viewer has none."""
    has_ipv4 = not compiled.attributes.without_ipv4 >> viewer & 1
    return [a for a in _own(compiled, other) if has_ipv4 or ":" in a]


def _allowed(compiled: Compiled, number: int) -> frozenset[str]:
    """Return what a node carries itself, whether or not it is the first to do so."""
    machine = compiled.machines[number]
    exits = map(str, EVERYWHERE) if machine.is_exit else ()
    return frozenset((*_own(compiled, number), *map(str, machine.routes), *exits))


def _peers(
    compiled: Compiled, number: int, order: Precedence, names: Mapping[int, str]
) -> dict[str, object]:
    view = compiled.view(number)
    routes = routes_of(view, order, view.peers)
    found: dict[str, object] = {}
    for other, name in names.items():
        if view.sees(other):
            subnets = [text_of(s) for s in routes.get(other, ())]
            subnets = [s if "/" in s else str(ip_network(s)) for s in subnets]
            is_exit = bool(view.exits >> other & 1)
            exits = [str(r) for r in EVERYWHERE] if is_exit else []
            found[name] = (
                frozenset((*_shared(compiled, number, other), *subnets, *exits)),
                frozenset(subnets),
                frozenset(compiled.machines[other].tags),
                {SUGGEST_EXIT_NODE: None} if is_exit else {},
            )
    return found


def _plain_peers(peers: Mapping[str, Json]) -> dict[str, object]:
    return {
        name: (
            frozenset(shown["allowed_ips"]),
            frozenset(shown.get("primary_routes") or ()),
            frozenset(shown.get("tags") or ()),
            shown.get("cap_map") or {},
        )
        for name, shown in peers.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
