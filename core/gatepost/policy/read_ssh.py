"""Reads `ssh`."""

from __future__ import annotations

from typing import Literal

from gatepost.policy.document import SshRule
from gatepost.policy.durations import format_duration, parse_duration
from gatepost.policy.fields import Fields
from gatepost.policy.hujson import Json, Number, Text
from gatepost.policy.names import parse_login, parse_selector
from gatepost.policy.read_rules import read_postures
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import (
    AutoGroupSelector,
    GroupSelector,
    Selector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

ALWAYS = 0.0  # seconds: every time
LONGEST_CHECK = 168 * 3600.0  # seconds
_FIELDS = (
    "action", "src", "dst", "users", "checkPeriod", "acceptEnv", "recorder", "enforceRecorder",
    "srcPosture",
)  # fmt: skip


def read_ssh_rule(value: Json) -> SshRule:
    fields = Fields(value, _FIELDS, "an SSH rule")
    action = _action(fields)
    users = fields.texts("users")
    if not users:
        raise refuse(
            "users must be specified",
            fields.place_of("users"),
            'add "users": ["autogroup:nonroot"]',
        )
    return SshRule(
        action=action,
        sources=tuple(map(_source, fields.texts("src"))),
        destinations=tuple(map(_destination, fields.texts("dst"))),
        logins=tuple(map(parse_login, users)),
        check_period=_check_period(fields, action),
        accept_env=tuple(map(_variable, fields.texts("acceptEnv"))),
        recorders=tuple(parse_selector(text, "recorder: ") for text in fields.texts("recorder")),
        enforce_recorder=fields.flag("enforceRecorder"),
        postures=read_postures(fields),
        place=fields.place,
    )


def _action(fields: Fields) -> Literal["accept", "check"]:
    hint = 'write "accept" or "check"'
    action, place = fields.text("action"), fields.place_of("action")
    match action:
        case "accept" | "check":
            return action
        case "":
            raise refuse("action must be specified", place, hint)
        case _:
            raise refuse(f'"{action}" is not a valid action', place, hint)


def _source(text: Text) -> Selector:
    found = parse_selector(text)
    kinds = UserSelector | UserWildcard | GroupSelector | TagSelector | AutoGroupSelector
    if not isinstance(found, kinds):
        raise refuse(
            f'invalid src "{found}"', text.place, "SSH goes from users, groups, tags or autogroups"
        )
    return found


def _destination(text: Text) -> Selector:
    found = parse_selector(text)
    if not isinstance(found, UserSelector | UserWildcard | TagSelector | AutoGroupSelector):
        raise refuse(
            f'invalid dst "{found}"', text.place, "SSH goes to tags, users or autogroup:self"
        )
    return found


def _check_period(fields: Fields, action: str) -> float | None:
    value, place = fields.get("checkPeriod"), fields.place_of("checkPeriod")
    if value is None:
        return None
    words = value.literal if isinstance(value, Number) else fields.text("checkPeriod")
    seconds = ALWAYS if words == "always" else parse_duration(words, place)
    if action != "check":
        raise refuse('checkPeriod is only valid with action "check"', place, "remove it")
    if seconds < 0:
        shown = format_duration(seconds)
        raise refuse(f"checkPeriod {shown} must be a positive duration", place)
    if seconds > LONGEST_CHECK:
        shown = format_duration(seconds)
        raise refuse(f"checkPeriod {shown} is above the max (168h)", place)
    return seconds


def _variable(text: Text) -> str:
    name = text.text.strip()
    if not name:
        raise refuse("acceptEnv values cannot be empty", text.place, 'name a variable, or "*"')
    return name
