"""Tags are given by their owners, and pools are for those whom the policy means."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from tests.policy.makers import ALICE, BOB, CAROL, make_inventory, make_machine

from gatepost.policy.ownership import own_tags, pools_for
from gatepost.policy.read import read

MEMBERS = make_inventory().members
OWNERS = read("""{
    "groups": {"group:ops": ["carol@example.com"]},
    "tagOwners": {
        "tag:web": ["bob@example.com"], "tag:db": ["group:ops", "tag:web"],
        "tag:all": ["autogroup:member"], "tag:admins": ["autogroup:admin"], "tag:nobody": [],
    },
    "nodeAttrs": [
        {"target": ["tag:web"], "ipPool": ["100.70.0.0/24"]},
        {"target": ["carol@example.com"], "ipPool": ["100.71.0.0/30", "100.72.0.0/30"]},
    ],
}""")
TAGS = ("tag:web", "tag:db", "tag:all", "tag:admins", "tag:nobody", "tag:unknown")


@pytest.mark.parametrize(
    ("member", "owned"),
    [
        (ALICE, {"tag:all", "tag:admins"}),
        (BOB, {"tag:web", "tag:db", "tag:all", "tag:admins"}),
        (CAROL, {"tag:db", "tag:all"}),
        (77, set[str]()),
    ],
)
def test_a_user_gives_the_tags_that_are_theirs(member: int, owned: set[str]) -> None:
    assert own_tags(OWNERS, MEMBERS, member, TAGS) == owned


def test_a_machine_gets_the_pools_of_its_tags_or_its_user() -> None:
    tagged = make_machine(1, tags=("tag:web",))
    carols = make_machine(2, owner=CAROL)
    alices = make_machine(3)

    assert pools_for(OWNERS, MEMBERS, tagged) == (IPv4Network("100.70.0.0/24"),)
    assert len(pools_for(OWNERS, MEMBERS, carols)) == 2
    assert pools_for(OWNERS, MEMBERS, alices) == ()
