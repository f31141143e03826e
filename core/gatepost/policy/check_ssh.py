"""Judges `ssh` and `sshTests`: who can be let in where. Source: Tailscale's SSH reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatepost.policy.document import SshRule, SshTest
from gatepost.policy.refusal import FAILED
from gatepost.policy.selectors import (
    ROLE_GROUPS,
    AutoGroup,
    AutoGroupSelector,
    HostSelector,
    PrefixSelector,
    RangeSelector,
    Selector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

if TYPE_CHECKING:  # the checker knows this module
    from gatepost.policy.check import Checker

_PEOPLE = frozenset({AutoGroup.MEMBER, AutoGroup.SHARED}) | ROLE_GROUPS
_SOURCES = _PEOPLE | {AutoGroup.TAGGED}
_DESTINATIONS = (_PEOPLE - {AutoGroup.SHARED}) | {AutoGroup.TAGGED, AutoGroup.SELF}


def check_ssh(checker: Checker) -> None:
    for rule in checker.policy.ssh:
        checker.names(rule.sources, "src=")
        checker.names(rule.destinations, "dst=")
        checker.names(rule.recorders, "recorder: ")
        checker.postures(rule.postures, rule.place)
        _check_auto_groups(checker, rule)
        _check_pairs(checker, rule)
    for test in checker.policy.ssh_tests:
        _check_test(checker, test)


def _check_auto_groups(checker: Checker, rule: SshRule) -> None:
    for allowed, side, selectors in (
        (_SOURCES, "src", rule.sources),
        (_DESTINATIONS, "dst", rule.destinations),
    ):
        for selector in selectors:
            if isinstance(selector, AutoGroupSelector) and selector.group not in allowed:
                checker.complaints.add(
                    f'"{selector}" not valid on the {side} side of a rule',
                    selector.place,
                    f"invalid {side} for SSH",
                )


def _check_pairs(checker: Checker, rule: SshRule) -> None:
    """Refuse a way from a tagged machine, or from somebody else, to a person's device."""
    tagged = any(map(_is_tagged, rule.sources))
    for who in rule.destinations:
        if _is_own(who):
            if tagged:
                checker.complaints.add(
                    f"tags in SSH source cannot access user-owned devices ({who})",
                    who.place,
                    "let tags reach tags only",
                )
        elif isinstance(who, UserSelector | UserWildcard):
            _check_user(checker, rule, who, tagged=tagged)


def _check_user(
    checker: Checker, rule: SshRule, who: UserSelector | UserWildcard, *, tagged: bool
) -> None:
    if tagged:
        checker.complaints.add(
            f"tags in SSH source cannot access user-owned devices ({who})",
            who.place,
            "let tags reach tags only",
        )
    elif any(source != who for source in rule.sources):
        checker.complaints.add(
            f'user destination requires source to contain only that same user "{who}"',
            who.place,
            "use autogroup:self as dst, so that everybody reaches their own devices",
        )


def _is_tagged(selector: Selector) -> bool:
    if isinstance(selector, AutoGroupSelector):
        return selector.group is AutoGroup.TAGGED
    return isinstance(selector, TagSelector)


def _is_own(selector: Selector) -> bool:
    return isinstance(selector, AutoGroupSelector) and selector.group is not AutoGroup.TAGGED


def _check_test(checker: Checker, test: SshTest) -> None:
    """Refuse destinations of an SSH test that are no single machine or name."""
    policy = checker.policy
    for who in test.destinations:
        if isinstance(who, TagSelector) and who.name not in policy.tag_owners:
            checker.complaints.add(
                f'{FAILED}: SSH tests dst contains unknown tag "{who}"', who.place
            )
        elif _is_range(checker, who):
            checker.complaints.add(
                f'{FAILED}: SSH tests dst contains disallowed element "{who}"',
                who.place,
                "name a tag, a host or one address",
            )


def _is_range(checker: Checker, who: Selector) -> bool:
    if isinstance(who, HostSelector) and who.name in checker.policy.hosts:
        return _is_range(checker, checker.policy.hosts[who.name].target)
    if isinstance(who, PrefixSelector):
        return who.network.num_addresses > 1
    if isinstance(who, AutoGroupSelector):
        return who.group is AutoGroup.INTERNET
    return isinstance(who, RangeSelector)
