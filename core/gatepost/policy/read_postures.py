"""Reads `postures`: conditions on what a device reports. Source: Tailscale's posture reference."""

from __future__ import annotations

import re
from typing import Literal, get_args

from gatepost.policy.document import Condition, Posture
from gatepost.policy.fields import text_of
from gatepost.policy.hujson import Items, Json, Member, Number, Text, Truth, kind_of
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import Place

Scalar = str | bool | float
Operator = Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "IS SET", "NOT SET"]
_ALONE = frozenset({"IS SET", "NOT SET"})
_LISTS = frozenset({"IN", "NOT IN"})
_CONDITION = re.compile(
    r"(?P<attribute>[A-Za-z][A-Za-z0-9_-]*:[^\s=!<>'\"]+)\s*"
    r"(?P<operator>==|!=|<=|>=|<|>|\bIN\b|\bNOT\s+IN\b|\bIS\s+SET\b|\bNOT\s+SET\b)\s*"
    r"(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_VALUE = re.compile(r"'([^']*)'|\"([^\"]*)\"|(true|false)\b|(-?\d+(?:\.\d+)?)")


def read_posture(member: Member) -> Posture:
    name = member.name.text.strip()
    if not name.startswith("posture:") or name == "posture:":
        raise refuse(f'posture must start with "posture:", got: "{name}"', member.name.place)
    if not isinstance(member.value, Items):
        raise refuse(
            f'posture "{name}" must be an array, not {kind_of(member.value)}', member.value.place
        )
    texts = [text_of(item, f"a condition of {name}") for item in member.value.items]
    conditions = tuple(map(_condition, texts))
    return Posture(name=name.lower(), conditions=conditions, place=member.name.place)


def _condition(text: Text) -> Condition:
    found = _CONDITION.fullmatch(text.text.strip())
    if found is None:
        raise refuse(
            f'invalid posture condition "{text.text}"',
            text.place,
            "write it like node:os == 'macos', node:os IN ['linux'] or custom:tier IS SET",
        )
    operator = _operator(" ".join(found["operator"].upper().split()))
    values = _values(found["rest"].strip(), operator, text)
    return Condition(
        attribute=found["attribute"], operator=operator, values=values, place=text.place
    )


def _operator(words: str) -> Operator:
    return next(operator for operator in get_args(Operator) if operator == words)


def _values(rest: str, operator: Operator, text: Text) -> tuple[Scalar, ...]:
    if operator in _LISTS:
        if not (rest.startswith("[") and rest.endswith("]")):
            raise refuse(f'"{text.text}": a list must follow {operator}', text.place, "['a', 'b']")
        words = [word.strip() for word in _split(rest[1:-1])]
        return tuple(_value(word, text.text, text.place) for word in words)
    if operator in _ALONE:
        if rest:
            raise refuse(f'"{text.text}": nothing can follow {operator}', text.place)
        return ()
    return (_value(rest, text.text, text.place),)


def _split(words: str) -> list[str]:
    """Split at commas that are not inside quotes."""
    return [m[0] for m in re.finditer(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"])+", words) if m[0].strip()]


def _value(words: str, condition: str, place: Place) -> Scalar:
    found = _VALUE.fullmatch(words)
    if found is None:
        raise refuse(
            f'"{condition}": {words or "nothing"} is not a value',
            place,
            "put text in single quotes; numbers, true and false stand alone",
        )
    if found[3]:
        return found[3] == "true"
    if found[4]:
        return float(found[4])
    return found[1] if found[1] is not None else found[2]


def read_attributes(members: tuple[Member, ...]) -> dict[str, Scalar]:
    """Read what a test says about its source's device (`srcPostureAttrs`)."""
    return {m.name.text: _scalar(m.value) for m in members}


def _scalar(value: Json) -> Scalar:
    match value:
        case Text():
            return value.text
        case Truth():
            return value.truth
        case Number():
            return float(value.literal)
        case _:
            raise refuse(
                f"an attribute must be text, a number, true or false, not {kind_of(value)}",
                value.place,
            )
