"""Whether a device fits a posture: conditions on what it says of itself.

A device that does not say what a condition asks for does not fit, except
where the condition is about that ("NOT SET"), or about being something else
("!=", "NOT IN").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gatepost.policy.directory import Machines
from gatepost.policy.document import Condition, Policy
from gatepost.policy.intervals import bits_of
from gatepost.policy.inventory import Fact, Machine

_NUMBERS = re.compile(r"\d+")


def fitting(policy: Policy, postures: Iterable[str], machines: Iterable[Machine]) -> Machines:
    """Return the machines that fit at least one of the postures."""
    wanted = [policy.postures[name].conditions for name in postures]
    return bits_of(
        m.id for m in machines if any(all(fits(c, m.facts) for c in cs) for cs in wanted)
    )


def fits(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    """Say whether a device of which these facts are known meets a condition."""
    known = facts.get(condition.attribute)
    match condition.operator:
        case "IS SET":
            return known is not None
        case "NOT SET":
            return known is None
        case "==" | "IN":
            return known is not None and any(_equal(known, v) for v in condition.values)
        case "!=" | "NOT IN":
            return known is None or not any(_equal(known, v) for v in condition.values)
        case _:
            return known is not None and _in_order(known, condition)


def _in_order(known: Fact, condition: Condition) -> bool:
    difference = _compare(known, condition.values[0])
    match condition.operator:
        case "<":
            return difference < 0
        case "<=":
            return difference <= 0
        case ">":
            return difference > 0
        case _:
            return difference >= 0


def _equal(one: Fact, other: Fact) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    return str(one).casefold() == str(other).casefold()


def _compare(one: Fact, other: Fact) -> int:
    """Return -1, 0 or 1. Texts are versions: their numbers count, from left to right."""
    left, right = _numbers(one), _numbers(other)
    length = max(len(left), len(right))
    padded = [0.0] * length
    a, b = (left + padded)[:length], (right + padded)[:length]
    return (a > b) - (a < b)


def _numbers(value: Fact) -> list[float]:
    if isinstance(value, str):
        return [float(n) for n in _NUMBERS.findall(value)]
    return [float(value)]
