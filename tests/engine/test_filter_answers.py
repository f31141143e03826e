"""What the packet filter says about answers to who came beside the mesh."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from tests.engine.test_filter import WISHES

from gatepost.engine.filter import filter_text


@pytest.mark.parametrize("carried", [(), ("100.64.0.9",), ("fd7a:115c:a1e0:b1a::/64",)])
def test_a_box_that_takes_no_network_of_a_peer_pays_nothing(carried: tuple[str, ...]) -> None:
    text = filter_text(replace(WISHES, carried=tuple(map(ip_network, carried))))

    assert "answers" not in text
    assert "elsewhere" not in text


@pytest.mark.parametrize("carried", ["10.9.0.0/16", "100.0.0.0/8", "2001:db8::/32"])
def test_a_network_of_a_peer_draws_no_answer_into_the_mesh(carried: str) -> None:
    text = filter_text(replace(WISHES, carried=(ip_network(carried),)))

    assert "jump elsewhere" in text
    assert "chain answers {" in text


def test_the_mesh_and_its_guests_are_judged_before() -> None:
    rules = filter_text(WISHES).partition("chain input {")[2].partition("}")[0].splitlines()

    assert rules[-2].endswith("jump elsewhere")
