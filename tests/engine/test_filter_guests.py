"""What the packet filter says about guests: machines behind a device of their own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from tests.engine.test_filter import WISHES

from gatepost.engine.filter import filter_text
from gatepost.linux.nft import PROGRAM
from gatepost.model.guests import Guests
from gatepost.testing.netns import machines

GUESTS = Guests("guest0", frozenset(map(ip_network, ("10.77.1.0/24", "fd00:77::/64"))))
TEXT = filter_text(replace(WISHES, guests=(GUESTS,)))


def chain(text: str, name: str) -> list[str]:
    """Return the rules of a chain."""
    _, _, rest = text.partition(f"\tchain {name} {{\n")
    return [line.strip() for line in rest.partition("\n\t}")[0].splitlines()]


def test_without_guests_nothing_is_said_about_them() -> None:
    assert "guest" not in filter_text(WISHES)
    assert filter_text(WISHES) == filter_text(
        replace(WISHES, guests=(Guests("guest0", frozenset()),))
    )


def test_nobody_else_sends_with_their_addresses() -> None:
    senders = chain(TEXT, "senders")

    assert 'iifname != "guest0" ip saddr 10.77.1.0/24 counter drop' in senders
    assert 'iifname != "guest0" ip6 saddr fd00:77::/64 counter drop' in senders


@pytest.mark.parametrize("name", ["guest_to_own", "guest_to_network", "network_to_guest"])
def test_the_last_word_of_each_way_is_the_rules_or_a_no(name: str) -> None:
    assert chain(TEXT, name)[-1] in {"counter drop", "goto admit6"}
    assert not any(rule.endswith("accept") and "ct " not in rule for rule in chain(TEXT, name))


def test_the_mesh_comes_first_so_that_it_is_never_a_network_of_this_site() -> None:
    assert [rule.rpartition(" ")[2] for rule in chain(TEXT, "forward")[1:]] == [
        "mesh_to_network",
        "network_to_mesh",
        "guest_to_network",
        "network_to_guest",
    ]


@pytest.mark.root
def test_nft_takes_the_text() -> None:
    with machines() as owner:
        (box,) = owner.add("box")
        box.run(PROGRAM, "-c", "-f", "-", stdin="define epoch = 0x01000000\n" + TEXT)
