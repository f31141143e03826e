"""A small change of the wishes costs little, and gives what making everything anew gives."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from gatepost.engine.lower import lower
from gatepost.engine.lowering import Lowering
from gatepost.engine.merge import NOTHING, Desired, merge
from gatepost.engine.merging import Merging
from gatepost.engine.plan import differing
from gatepost.engine.plugins import Contribution, Owned
from gatepost.hookspecs import Item
from gatepost.model.kernel import (
    Admit,
    ForwardOut,
    Route,
    Sysctl,
    Translate,
    WireGuardDevice,
    WireGuardPeer,
)
from gatepost.model.keys import NodePrivate
from gatepost.model.mesh import AllowedPrefix
from gatepost.model.process import WatchLocalNetworks
from gatepost.model.resource import Notice
from gatepost.testing.makers import make_rule

ONE, TWO = (NodePrivate(bytes([n] * 32)).public for n in (1, 2))
NETWORKS = tuple(ip_network(f"10.{n}.0.0/16") for n in range(4))


def items() -> list[Item]:
    """Return new objects, equal to those of the last call."""
    found: list[Item] = [
        WireGuardDevice(
            name="gatepost0", private_key=NodePrivate(bytes(32)), port=41641, mark=2, mtu=1280
        ),
        *(WireGuardPeer(device="gatepost0", public_key=key) for key in (ONE, TWO)),
        *(AllowedPrefix(n, key) for n in NETWORKS for key in (ONE, TWO)),
        *(Route(52, n, "gatepost0") for n in NETWORKS),
        *(Admit(make_rule(str(n), "10.9.0.0/16")) for n in NETWORKS),
        *(ForwardOut(n) for n in NETWORKS[:2]),
        *(Sysctl("forward", value) for value in "01"),
        Translate(ip_network("fd7a::/96"), ip_network("192.168.0.0/16")),
        *(Notice("code", text) for text in "ab"),
        WatchLocalNetworks(),
    ]
    return found


SAME = items()
COUNT = len(SAME)
chosen = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.booleans()), max_size=12, unique_by=lambda c: c[0]
)
contributions = st.tuples(chosen, chosen)


def contributed(picks: Sequence[list[tuple[int, bool]]]) -> tuple[Contribution, ...]:
    """Let plugins ask for items: the same objects as always, or equal ones."""
    always = Contribution("mesh", tuple(SAME[:3]))
    return always, *(
        Contribution(name, tuple((items() if is_new else SAME)[n] for n, is_new in pick))
        for name, pick in zip("ab", picks, strict=True)
    )


def owned(of: Sequence[Contribution]) -> list[Owned]:
    return [Owned(c.plugin, item) for c in of for item in c.items]


def said(desired: Desired) -> tuple[object, ...]:
    return dict(desired.resources), dict(desired.owners), desired.watches, sorted_of(desired)


def sorted_of(desired: Desired) -> list[str]:
    return sorted(n.text for n in desired.notices)


@given(st.lists(contributions, max_size=5))
def test_steps_say_what_all_together_say(
    rounds: list[tuple[list[tuple[int, bool]], list[tuple[int, bool]]]],
) -> None:
    merging, lowering, before = Merging(), Lowering(), NOTHING
    for picks in rounds:
        asked = contributed(picks)
        before = merge(owned(asked), before)
        stepped = merging.merge(asked)

        assert said(stepped) == said(before)
        assert said(lowering.lower(stepped)) == said(lower(before))


EVERYTHING = [(n, False) for n in range(COUNT) if not isinstance(SAME[n], (Sysctl, Translate))]
PLAIN = [c for c in EVERYTHING[3:] if SAME[c[0]] not in {AllowedPrefix(n, TWO) for n in NETWORKS}]
ROUTE = next(c for c in PLAIN if SAME[c[0]] == Route(52, NETWORKS[0], "gatepost0"))
PREFIX = next(c for c in PLAIN if SAME[c[0]] == AllowedPrefix(NETWORKS[0], ONE))


def test_one_network_less_touches_its_route_its_peer_and_the_filter() -> None:
    merging, lowering = Merging(), Lowering()
    few = [c for c in PLAIN if c not in {ROUTE, PREFIX}]
    one = lowering.lower(merging.merge(contributed((PLAIN, []))))
    other = lowering.lower(merging.merge(contributed((few, []))))
    touched = differing(one.resources, other.resources)

    assert sorted(type(one.resources[k]).__name__ for k in touched) == [
        "PacketFilter",
        "Route",
        "WireGuardPeer",
    ]


def test_equal_wishes_are_the_same_objects_as_before() -> None:
    merging = Merging()
    one = merging.merge(contributed((PLAIN, [])))
    other = merging.merge(contributed(([(n, n % 3 == 0) for n, _ in PLAIN], [])))

    assert differing(one.resources, other.resources) == frozenset()
    assert said(one) == said(other)
