"""Who gets what when plugins disagree."""

from __future__ import annotations

from ipaddress import ip_network

from gatepost.api import Forward, Listen, Notice, Sysctl, WatchLinks
from gatepost.engine.merge import merge
from gatepost.engine.plugins import Owned

ONE, TWO = Sysctl("x", "1"), Sysctl("x", "2")


def test_the_incumbent_keeps_the_resource_and_a_notice_names_both() -> None:
    before = merge([Owned("b", TWO)])
    after = merge([Owned("a", ONE), Owned("b", TWO)], before)

    assert list(after.resources.values()) == [TWO]
    assert after.owners[TWO.key] == {"b"}
    assert [n.code for n in after.notices] == ["conflict"]
    assert "a wants Sysctl x, value 1, but b already has" in after.notices[0].text


def test_an_incumbent_may_change_its_mind_and_still_keeps_the_resource() -> None:
    before = merge([Owned("b", TWO)])
    changed = Sysctl("x", "3")

    assert list(merge([Owned("a", ONE), Owned("b", changed)], before).resources.values()) == [
        changed
    ]


def test_of_two_incumbents_the_one_that_stays_with_what_was_keeps_it() -> None:
    before = merge([Owned("a", TWO), Owned("b", TWO)])
    after = merge([Owned("a", ONE), Owned("b", TWO)], before)

    assert list(after.resources.values()) == [TWO]


def test_with_no_incumbent_the_first_in_order_gets_it() -> None:
    after = merge([Owned("a", ONE), Owned("b", TWO)])

    assert list(after.resources.values()) == [ONE]


def test_two_services_cannot_own_one_port() -> None:
    relay = Listen("tcp", 443, "internet", "derp")
    desired = merge([Owned("derp", relay), Owned("serve", Listen("tcp", 443, "internet", "serve"))])

    assert list(desired.resources.values()) == [relay]
    assert [n.code for n in desired.notices] == ["conflict"]


def test_when_the_incumbent_leaves_the_other_gets_it() -> None:
    before = merge([Owned("a", ONE), Owned("b", TWO)])
    after = merge([Owned("b", TWO)], before)

    assert list(after.resources.values()) == [TWO]
    assert after.notices == ()


def test_agreeing_is_not_a_conflict_and_both_are_named() -> None:
    forward = Forward(ip_network("10.0.0.0/8"))
    desired = merge([Owned("a", forward), Owned("b", forward), Owned("a", ONE), Owned("b", ONE)])

    assert desired.owners == {forward.key: {"a", "b"}, ONE.key: {"a", "b"}}
    assert desired.notices == ()


def test_watches_and_notices_are_kept_apart_from_resources() -> None:
    desired = merge(
        [Owned("a", WatchLinks()), Owned("b", WatchLinks()), Owned("a", Notice("n", ""))]
    )

    assert desired.watches == {WatchLinks()}
    assert desired.notices == (Notice("n", ""),)
    assert desired.resources == {}
