"""Which exit node is suggested."""

from __future__ import annotations

from gatepost.cli.exit_choice import Tried, choose


def make_tried(name: str, *answers: float, is_direct: bool = True) -> Tried:
    return Tried(name=name, key=f"nodekey:{name}", answers=answers, is_direct=is_direct)


def test_the_nearest_is_chosen() -> None:
    near, far = make_tried("near", 0.020, 0.021), make_tried("far", 0.080, 0.081)

    assert choose((far, near), "me") == near


def test_who_is_relayed_must_be_much_nearer() -> None:
    direct = make_tried("direct", 0.020)
    relayed = make_tried("relayed", 0.015, is_direct=False)
    close = make_tried("close", 0.005, is_direct=False)

    assert choose((direct, relayed), "me") == direct
    assert choose((direct, close), "me") == close


def test_of_two_that_are_near_the_calmer_one_is_chosen() -> None:
    busy = make_tried("busy", 0.020, 0.045, 0.030)
    calm = make_tried("calm", 0.022, 0.023, 0.022)

    assert choose((busy, calm), "me") == calm


def test_boxes_share_exits_that_are_as_good_as_each_other() -> None:
    exits = [make_tried(f"exit{n}", 0.020, 0.021) for n in range(4)]
    chosen = [choose(exits, f"nodekey:{n}").name for n in range(200)]

    assert chosen == [choose(reversed(exits), f"nodekey:{n}").name for n in range(200)]
    assert {chosen.count(one.name) > 25 for one in exits} == {True}
