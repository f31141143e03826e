"""Which addresses become routes, for how long, and what happens when there are too many."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.model.peer_api import LearnNames
from gatepost.sessions.learned_names import (
    MOST,
    MOST_NAMES,
    MOST_OF_NAME,
    RESTED,
    LearnedNames,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
ONE, TWO, SIX = IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2"), IPv6Address("2001:db8::1")


def make_wish(domain: str = "wiki.example", *, most: int = 256, hours: int = 24) -> LearnNames:
    return LearnNames(domain=domain, keep=timedelta(hours=hours), most=most)


def make_learned(*wishes: LearnNames) -> LearnedNames:
    learned = LearnedNames()
    learned.want(wishes or (make_wish(),))
    return learned


def many(count: int, first: int = 0) -> tuple[IPv4Address, ...]:
    return tuple(IPv4Address("20.0.0.0") + first + n for n in range(count))


def test_an_address_counts_from_when_it_was_given() -> None:
    learned = make_learned()
    first = learned.learn(("wiki.example",), (ONE, TWO), 30, NOW)
    again = learned.learn(("wiki.example",), (ONE,), 30, NOW)

    assert (first.given, set(first.new)) == ((ONE, TWO), {ONE, TWO})
    assert (again.given, again.new) == ((ONE,), frozenset())
    assert learned.known("wiki.example") == {ONE, TWO}


def test_names_of_nobody_are_told_and_not_kept() -> None:
    learned = make_learned()
    lesson = learned.learn(("other.example",), (ONE,), 30, NOW)

    assert (lesson.given, lesson.new) == ((ONE,), frozenset())
    assert learned.known("wiki.example") == frozenset()


@pytest.mark.parametrize(
    ("name", "is_meant"),
    [("a.apps.example", True), ("b.a.apps.example", True), ("apps.example", False),
     ("xapps.example", False), ("apps.example.evil.example", False)],
)  # fmt: skip
def test_a_wildcard_means_what_is_below_it(name: str, is_meant: bool) -> None:  # a case
    learned = make_learned(make_wish("*.apps.example"))
    learned.learn((name,), (ONE,), 30, NOW)

    assert (learned.known("*.apps.example") == {ONE}) is is_meant


def test_a_name_that_stands_for_another_leads_to_its_addresses() -> None:
    learned = make_learned(make_wish("wiki.example"), make_wish("*.cdn.example"))
    learned.learn(("wiki.example", "edge.elsewhere.example"), (ONE,), 30, NOW)
    learned.learn(("www.other.example", "x.cdn.example"), (TWO,), 30, NOW)

    assert learned.known("wiki.example") == {ONE}
    assert learned.known("*.cdn.example") == {TWO}


def test_an_address_of_two_domains_stays_until_both_are_over() -> None:
    learned = make_learned(make_wish("one.example", hours=1), make_wish("two.example", hours=3))
    for name in ("one.example", "two.example"):
        learned.learn((name,), (ONE,), 30, NOW)

    assert learned.expire(NOW + 2 * HOUR) == {"one.example"}
    assert learned.known("one.example") == frozenset()
    assert learned.known("two.example") == {ONE}
    assert learned.expire(NOW + 4 * HOUR) == {"two.example"}
    assert learned.known("two.example") == frozenset()


def test_an_address_is_kept_from_when_it_was_last_given() -> None:
    learned = make_learned(make_wish(hours=1))
    learned.learn(("wiki.example",), (ONE, TWO), 30, NOW)
    learned.learn(("wiki.example",), (ONE,), 30, NOW + HOUR / 2)

    learned.expire(NOW + HOUR + 1)

    assert learned.known("wiki.example") == {ONE}


def test_an_address_is_kept_as_long_as_the_asker_may_keep_it() -> None:
    learned = make_learned(make_wish(hours=1))
    learned.learn(("wiki.example",), (ONE,), 2 * HOUR, NOW)

    assert learned.expire(NOW + 1.5 * HOUR) == frozenset()
    assert learned.expire(NOW + 2 * HOUR) == {"wiki.example"}


def test_a_name_has_so_many_addresses_and_then_known_ones_are_told() -> None:
    learned = make_learned()
    crowd = many(5000)
    for at in range(0, len(crowd), 8):
        lesson = learned.learn(("wiki.example",), crowd[at : at + 8], 0, NOW)

        assert lesson.given
        assert set(lesson.given) <= learned.known("wiki.example")
    assert len(learned.known("wiki.example")) == MOST_OF_NAME


def test_one_answer_with_too_many_is_cut_down() -> None:
    learned = make_learned()
    lesson = learned.learn(("wiki.example",), many(4000), 0, NOW)

    assert lesson.given == many(MOST_OF_NAME)


def test_a_known_address_of_the_other_version_is_not_told() -> None:
    learned = make_learned(make_wish(most=1))
    learned.learn(("wiki.example",), (ONE,), 30, NOW)
    lesson = learned.learn(("wiki.example",), (SIX,), 30, NOW)

    assert (lesson.given, lesson.new) == ((), frozenset())


def test_a_domain_that_is_full_lets_go_of_what_has_rested() -> None:
    learned = make_learned(make_wish("*.apps.example", most=2, hours=1))
    learned.learn(("a.apps.example",), (ONE,), 0, NOW)
    learned.learn(("b.apps.example",), (TWO,), 0, NOW + 1)
    third = IPv4Address("203.0.113.3")
    soon = learned.learn(("c.apps.example",), (third,), 0, NOW + 2)
    later = learned.learn(("c.apps.example",), (third,), 0, NOW + RESTED)

    assert soon.given == ()
    assert later.given == (third,)
    assert learned.known("*.apps.example") == {TWO, third}


def test_all_domains_together_have_a_limit_too() -> None:
    learned = make_learned(make_wish("*.one.example", most=MOST), make_wish("two.example"))
    for n in range(MOST):
        learned.learn((f"n{n}.one.example",), many(1, n), 0, NOW)
    lesson = learned.learn(("two.example",), (ONE,), 0, NOW)

    assert lesson.given == ()
    assert len(learned.known("*.one.example")) == MOST


def test_any_number_of_names_may_lead_to_few_addresses() -> None:
    learned = make_learned(make_wish("*.apps.example", most=2))
    for n in range(MOST_NAMES + 100):
        lesson = learned.learn((f"n{n}.apps.example",), (ONE, TWO), 0, NOW + n)

        assert lesson.given == (ONE, TWO)
    later = NOW + MOST_NAMES + 100
    third = learned.learn(("other.apps.example",), (IPv4Address("203.0.113.3"),), 0, later)

    assert third.given == ()
    assert learned.known("*.apps.example") == {ONE, TWO}
    assert len(learned.dump()) < 100 * MOST_NAMES
    assert learned.expire(later + 24 * HOUR) == {"*.apps.example"}
    assert learned.known("*.apps.example") == frozenset()


def test_a_refused_answer_leaves_nothing_behind() -> None:
    learned = make_learned(make_wish("*.apps.example", most=1))
    learned.learn(("a.apps.example",), (ONE,), 0, NOW)
    before = learned.dump()
    for n in range(50):
        learned.learn((f"n{n}.apps.example",), (TWO,), 0, NOW)

    assert learned.dump() == before


def test_what_is_known_survives_being_written_down() -> None:
    learned = make_learned(make_wish(), make_wish("*.apps.example"))
    learned.learn(("wiki.example",), (ONE,), 30, NOW)
    learned.learn(("a.apps.example",), (SIX,), 30, NOW)
    other = LearnedNames()

    assert set(other.load(learned.dump())) == {"wiki.example", "*.apps.example"}
    assert other.known("wiki.example") == {ONE}
    assert other.known("*.apps.example") == {SIX}


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"domains": [], "names": {"a": {"nonsense": 1}}}', b'{"domains": []}']
)
def test_what_was_never_written_is_refused_and_changes_nothing(raw: bytes) -> None:
    learned = make_learned()
    learned.learn(("wiki.example",), (ONE,), 30, NOW)
    with pytest.raises(Malformed):
        learned.load(raw)

    assert learned.known("wiki.example") == {ONE}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.apps.example", "b.apps.example", "wiki.example"]),
            st.lists(st.integers(0, 200), min_size=1, max_size=90, unique=True),
            st.floats(0, 5000),
        ),
        max_size=12,
    )
)
def test_whatever_is_told_is_known_and_nothing_outgrows_its_limit(
    asked: list[tuple[str, list[int], float]],
) -> None:
    learned = make_learned(make_wish(most=40), make_wish("*.apps.example", most=70))
    now = NOW
    for name, numbers, pause in asked:
        now += pause
        lesson = learned.learn((name,), (IPv4Address("20.0.0.0") + n for n in numbers), 30, now)
        domain = "wiki.example" if name == "wiki.example" else "*.apps.example"

        assert lesson.new <= set(lesson.given) <= learned.known(domain)
        assert len(learned.known("wiki.example")) <= 40
        assert len(learned.known("*.apps.example")) <= 70
