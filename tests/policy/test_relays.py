"""A policy may bring relays, and may not bring what clients cannot use."""

from __future__ import annotations

import pytest
from tests.policy.makers import make_policy

from gatepost.policy.read import read
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.policy.relays import check_relays, relays
from gatepost.wire.derp_map import DerpMap, DerpRegion

OWN = DerpMap(
    regions={"900": DerpRegion(region_id=900), "901": DerpRegion(region_id=901)},
    omit_default_regions=True,
)


def made(derp_map: object) -> DerpMap:
    return relays(read(make_policy(derpMap=derp_map)), OWN)


def test_a_policy_without_relays_leaves_ours() -> None:
    assert relays(read(make_policy()), OWN) is OWN


def test_a_region_is_added_replaced_or_taken_away() -> None:
    changed = {"RegionID": 901, "RegionCode": "x"}
    wished = {"Regions": {"900": None, "901": changed, "7": {"RegionID": 7}}}

    regions = made(wished).regions or {}

    assert set(regions) == {"901", "7"}
    assert regions["901"] is not None
    assert regions["901"].region_code == "x"


def test_all_of_ours_can_be_left_out() -> None:
    only = made({"OmitDefaultRegions": True, "Regions": {"7": {"RegionID": 7}}})

    assert set(only.regions or {}) == {"7"}


@pytest.mark.parametrize(
    "derp_map",
    [
        {"Regions": {"7": {"RegionID": "seven"}}},
        {"Regions": {"7": {"RegionID": 8}}},
        {"Regions": {"seven": {"RegionID": 7}}},
        {"Regions": [1]},
    ],
)
def test_what_clients_could_not_use_is_refused(derp_map: object) -> None:
    with pytest.raises(PolicyRefusedError, match="derpMap"):
        check_relays(read(make_policy(derpMap=derp_map)))
