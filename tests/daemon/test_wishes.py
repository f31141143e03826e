"""What a daemon tells the server of what its plugins want."""

from __future__ import annotations

from collections.abc import Hashable
from types import MappingProxyType

import pytest

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.wishes import Wishes
from gatepost.engine.merge import NOTHING, Desired
from gatepost.engine.plugins import Plugins
from gatepost.model.mesh import Announce
from gatepost.model.observed import Watch
from gatepost.model.peer_api import AnswerPeers
from gatepost.model.resource import Resource


async def nothing_new(_watches: frozenset[Watch[object]]) -> bool:
    return False


def make_wishes(*resources: Resource) -> Wishes:
    wishes = Wishes(Inputs(), Plugins(), lambda _: (), lambda: False, nothing_new)
    wanted: dict[Hashable, Resource] = {r.key: r for r in resources}
    owners = {key: frozenset({"a plugin"}) for key in wanted}
    wishes.merged = Desired(
        MappingProxyType(wanted), MappingProxyType(owners), NOTHING.watches, NOTHING.notices
    )
    return wishes


@pytest.mark.parametrize("suffix", ["", "wiki.example"])
def test_a_node_that_answers_peers_about_any_name_says_so(suffix: str) -> None:
    told = make_wishes(Announce("peer-api", "41053"), AnswerPeers(suffix)).announced()

    assert told == {"peer-api": "41053", "peer-dns": "true"}


def test_other_nodes_do_not() -> None:
    assert make_wishes(Announce("peer-api", "41053")).announced() == {"peer-api": "41053"}
