"""Timers, limits of failures, waiting logins, pages, the relay map and the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.coordination.makers import (
    NOW,
    machine,
    make_key,
    make_node,
    make_records,
    make_report,
    make_request,
)

from gatepost.coordination.limits import MOST_SOURCES, FailureLimit
from gatepost.coordination.logins import LIFETIME, MOST, Logins
from gatepost.coordination.pages import login_page
from gatepost.coordination.records import Records
from gatepost.coordination.relay_map import relay_map
from gatepost.coordination.settings import parse_settings
from gatepost.coordination.timers import Timers
from gatepost.coordination.times import FLOOR, newest, seconds_of, steady
from gatepost.errors import RefusedError
from gatepost.wire.hostinfo import Hostinfo


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# --- timers --------------------------------------------------------------------
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9) | st.none())))
def test_a_timer_is_due_once_at_its_last_moment(moves: list[tuple[str, int | None]]) -> None:
    timers, expected = Timers[str](), dict[str, int]()
    for key, when in moves:
        if when is None:
            timers.cancel(key)
            expected.pop(key, None)
        else:
            timers.set(key, when)
            expected[key] = when

    assert sorted(timers.due(4)) == sorted(k for k, w in expected.items() if w <= 4)
    assert sorted(timers.due(9)) == sorted(k for k, w in expected.items() if w > 4)
    assert len(timers) == 0


def test_timers_come_in_the_order_of_their_moments() -> None:
    timers = Timers[str]()
    for key, when in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        timers.set(key, when)

    assert timers.due(2.5) == ["a", "b"]


# --- failures --------------------------------------------------------------------
def test_a_source_that_fails_too_often_must_wait_and_others_need_not() -> None:
    limit = FailureLimit(burst=3, rate=0.5)
    for _ in range(3):
        assert limit.wait("192.0.2.1", NOW) == 0.0
        limit.fail("192.0.2.1", NOW)

    assert limit.wait("192.0.2.1", NOW) == pytest.approx(2.0)
    assert limit.wait("192.0.2.1", NOW + 2) == 0.0
    assert limit.wait("192.0.2.2", NOW) == 0.0


def test_only_so_many_sources_are_remembered() -> None:
    limit = FailureLimit(burst=1)
    limit.fail("first", NOW)
    for number in range(MOST_SOURCES):
        limit.fail(str(number), NOW)

    assert limit.wait("first", NOW) == 0.0
    assert limit.wait(str(MOST_SOURCES - 1), NOW) > 0.0


# --- waiting logins ------------------------------------------------------------------
def make_logins(clock: Clock) -> Logins:
    numbers = iter(range(10_000))
    return Logins(clock, lambda: f"id{next(numbers)}")


def test_the_same_machine_and_key_wait_only_once() -> None:
    logins = make_logins(Clock())

    first = logins.open(make_request(), machine(1))

    assert logins.open(make_request(), machine(1)) is first
    assert logins.open(make_request(2), machine(1)) is not first
    assert logins.open(make_request(), machine(2)) is not first


def test_a_login_expires_and_wakes_who_waits_for_it() -> None:
    clock = Clock()
    logins = make_logins(clock)
    login = logins.open(make_request(), machine(1))
    clock.now += LIFETIME

    assert logins.find(login.id) is None
    assert login.decided.is_set()


def test_a_decided_login_waits_no_more_but_is_still_known() -> None:
    logins = make_logins(Clock())
    login = logins.open(make_request(), machine(1))
    login.decide("approved")

    assert logins.all() == []
    assert logins.find(login.id) is login
    assert logins.open(make_request(), machine(1)) is not login


def test_too_many_waiting_logins_are_refused() -> None:
    logins = make_logins(Clock())
    for number in range(1, MOST + 1):
        logins.open(make_request(number), machine(1))

    with pytest.raises(RefusedError, match="wait for approval"):
        logins.open(make_request(MOST + 1), machine(1))


# --- pages -------------------------------------------------------------------------------
def test_the_page_shows_the_command_and_nothing_of_it_can_be_markup() -> None:
    evil = Hostinfo(hostname="<script>alert('x')</script>", os='"><img src=x>')
    login = make_logins(Clock()).open(make_request(hostinfo=evil), machine(1))

    page = login_page(login)

    text = page.body.decode()
    assert page.status == 200
    assert "<script" not in text
    assert "<img" not in text
    assert "<script>alert('x')</script>" in unescape(text)
    assert "gatepost admin registrations approve id0 --user NAME" in text
    assert any(
        n == "Content-Security-Policy" and "default-src 'none'" in v for n, v in page.headers
    )


def test_an_unknown_login_is_explained() -> None:
    page = login_page(None)

    assert page.status == 404
    assert b"expired" in page.body


@pytest.mark.parametrize("verdict", ["approved", "denied"])
def test_a_decided_login_says_how(verdict: str) -> None:
    login = make_logins(Clock()).open(make_request(), machine(1))
    login.decide("approved" if verdict == "approved" else "denied")

    page = login_page(login)

    assert verdict in page.body.decode().lower()
    assert b"<pre>" not in page.body


# --- the relay map ------------------------------------------------------------------------
def test_our_relay_is_the_only_one_and_pinned() -> None:
    derp = parse_settings('server-url = "http://192.0.2.1"').derp

    relays = relay_map(derp, "sha256-raw:" + "ab" * 32, plain_on_80=True)

    assert relays.omit_default_regions
    region = (relays.regions or {})["900"]
    assert region is not None
    assert region.nodes is not None
    node = region.nodes[0]
    assert (node.region_id, node.host_name, node.cert_name) == (
        900,
        "192.0.2.1",
        "sha256-raw:" + "ab" * 32,
    )
    assert (node.ipv4, node.ipv6, node.derp_port, node.stun_port) == (
        "192.0.2.1",
        "none",
        443,
        3478,
    )
    assert node.can_port80
    second = region.nodes[1]
    assert second.name != node.name
    assert (second.host_name, second.ipv4, second.stun_port) == ("192.0.2.1", "192.0.2.1", 3479)
    assert second.stun_only


def test_a_relay_with_a_name_is_looked_up() -> None:
    derp = parse_settings('server-url = "https://mesh.example.org"').derp
    region = (relay_map(derp, "", plain_on_80=False).regions or {})["900"]

    assert region is not None
    assert region.nodes is not None
    node = region.nodes[0]
    assert (node.host_name, node.ipv4, node.ipv6) == ("mesh.example.org", "", "")


def test_without_a_relay_the_map_is_empty_and_says_so() -> None:
    assert relay_map(None, "", plain_on_80=False).regions == {}


# --- the clock --------------------------------------------------------------------------------
def test_a_clock_in_1970_is_lifted_to_what_is_known() -> None:
    records = make_records(make_key(), make_node(1))
    known = newest(records, {1: make_report(last_seen=NOW + 9)})

    assert known == NOW + 9
    assert steady(lambda: 17.0, max(FLOOR, known))() == NOW + 9
    assert steady(lambda: NOW + 10, known)() == NOW + 10
    assert newest(Records(), {}) == 0.0


def test_the_zero_time_of_go_is_no_time() -> None:
    assert seconds_of(datetime(1, 1, 1, tzinfo=UTC)) is None
    assert seconds_of(datetime.fromtimestamp(123, UTC)) == 123
    assert seconds_of(None) is None
