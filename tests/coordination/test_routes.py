"""A prefix is carried if announced and approved, by one node at a time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.coordination.routes import (
    Carrier,
    carried,
    check_route,
    parse_prefix,
    primaries,
)
from gatepost.errors import RefusedError
from gatepost.model.exits import EVERYWHERE

NET = ip_network("10.1.0.0/16")
OTHER = ip_network("10.2.0.0/16")


def carrier(number: int, *, online: bool | None = True) -> Carrier:
    return Carrier(id=number, routes=(NET, EVERYWHERE[0]), online=online)


def test_only_what_is_announced_and_approved_is_carried() -> None:
    assert carried((NET, OTHER), (OTHER, EVERYWHERE[0])) == (OTHER,)


def test_the_first_node_becomes_primary() -> None:
    assert primaries([carrier(3), carrier(2)], {}) == {NET: 2}


def test_who_has_a_prefix_keeps_it() -> None:
    assert primaries([carrier(2), carrier(3)], {NET: 3}) == {NET: 3}


def test_an_offline_primary_gives_the_prefix_to_one_that_is_online() -> None:
    assert primaries([carrier(2), carrier(3, online=False)], {NET: 3}) == {NET: 2}


def test_a_primary_not_seen_since_the_start_keeps_its_prefix() -> None:
    assert primaries([carrier(2), carrier(3, online=None)], {NET: 3}) == {NET: 3}


def test_a_prefix_whose_carriers_are_all_offline_stays() -> None:
    both = [carrier(2, online=False), carrier(3, online=False)]

    assert primaries(both, {NET: 3}) == {NET: 3}


def preferred(number: int, *, online: bool | None = True) -> Carrier:
    return replace(carrier(number, online=online), preferred=(NET,))


def test_who_is_preferred_takes_a_prefix_from_who_has_it() -> None:
    assert primaries([carrier(2), preferred(3)], {NET: 2}) == {NET: 3}


def test_a_preferred_node_that_is_offline_gets_nothing() -> None:
    assert primaries([carrier(2), preferred(3, online=False)], {NET: 3}) == {NET: 2}


def test_among_several_preferred_ones_who_has_it_keeps_it() -> None:
    assert primaries([preferred(2), preferred(3)], {NET: 3}) == {NET: 3}


def test_default_routes_have_no_primary() -> None:
    assert EVERYWHERE[0] not in primaries([carrier(1)], {})


@given(
    st.lists(
        st.builds(
            Carrier,
            id=st.integers(1, 9),
            routes=st.sets(st.sampled_from([NET, OTHER])).map(tuple),
            online=st.sampled_from([True, False, None]),
        ),
        unique_by=lambda c: c.id,
    ),
    st.dictionaries(st.sampled_from([NET, OTHER]), st.integers(1, 9)),
)
def test_a_second_choice_changes_nothing(
    carriers: list[Carrier], before: dict[object, int]
) -> None:
    once = primaries(carriers, before)  # type: ignore[arg-type]  # keys are prefixes

    assert primaries(carriers, once) == once
    assert all(any(c.id == i and p in c.routes for c in carriers) for p, i in once.items())


@pytest.mark.parametrize(
    "text", ["10.1.0.0/16", "192.0.2.1/32", "2001:db8::/32", "0.0.0.0/0", "::/0",
             "fd7a:115c:a1e0:b1a:0:7:a01:0/112"],
)  # fmt: skip
def test_networks_that_may_be_routed_are_taken(text: str) -> None:
    assert str(check_route(parse_prefix(text))) == text


@pytest.mark.parametrize(
    "text", ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "100.64.0.0/10", "100.100.0.0/16",
             "fd7a:115c:a1e0::/48", "fe80::/10", "::1/128", "ff00::/8", "100.0.0.0/8"],
)  # fmt: skip
def test_networks_that_must_not_be_routed_are_refused_by_name(text: str) -> None:
    with pytest.raises(RefusedError, match=text.partition("/")[0]):
        check_route(parse_prefix(text))


@pytest.mark.parametrize("text", ["10.1.0.1/16", "banana", "10.0.0.0/33", ""])
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not a network prefix"):
        parse_prefix(text)
