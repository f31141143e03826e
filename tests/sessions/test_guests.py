"""Guests in settings, and what their app is given."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.keys import NodePublic
from gatepost.sessions.guests import (
    Guest,
    Invitation,
    configuration,
    free_number,
    reach_of,
    read_guest,
    read_guests,
)
from gatepost.testing.makers import make_private
from gatepost.wire.wg_quick import read_wg_quick

NETWORKS = (ip_network("10.77.1.0/29"), ip_network("fd00:77::/64"))

guests = st.builds(
    Guest,
    name=st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True),
    number=st.integers(2, 10**9 - 1),
    key=st.binary(min_size=32, max_size=32).map(NodePublic),
)


def make_guest(number: int) -> Guest:
    return Guest(name=f"phone-{number}", number=number, key=make_private(number).public)


@given(guests)
def test_a_guest_that_was_written_is_read_back(guest: Guest) -> None:
    assert read_guest(str(guest)) == guest


@given(st.text(max_size=80))
def test_noise_is_refused_or_reads_as_itself(text: str) -> None:
    try:
        guest = read_guest(text)
    except ValueError:
        return
    assert read_guest(str(guest)) == guest


@pytest.mark.parametrize("what", ["name", "number", "key"])
def test_two_guests_differ_in_everything(what: str) -> None:
    one, other = make_guest(2), make_guest(3)
    same = {field: getattr(one if field == what else other, field) for field in
            ("name", "number", "key")}  # fmt: skip

    with pytest.raises(ValueError, match=what):
        read_guests([str(one), str(Guest(**same))])


def test_the_lowest_free_number_is_given_until_the_smallest_network_is_full() -> None:
    some = [make_guest(n) for n in (2, 3, 5)]

    assert free_number(some, NETWORKS) == 4
    assert free_number([], NETWORKS) == 2
    with pytest.raises(ValueError, match="room for 5"):
        free_number([make_guest(n) for n in range(2, 7)], NETWORKS)


def test_the_app_reads_what_it_is_given() -> None:
    """Our own strict reader of such files stands for the app; it wants a default route."""
    key, box = make_private(5), make_private(6).public
    text = configuration(
        Invitation(
            key=key,
            addresses=(ip_address("10.77.1.2"), ip_address("fd00:77::2")),
            box=box,
            host="vpn.example.org",
            port=51820,
            reach=(ip_network("0.0.0.0/0"), ip_network("fd00::/8")),
            mtu=1280,
        )
    )
    found = read_wg_quick(text)

    assert (found.private_key, found.server, found.mtu) == (key, box, 1280)
    assert (found.host, found.host_port, found.keepalive) == ("vpn.example.org", 51820, 25)
    assert found.addresses == (ip_address("10.77.1.2"), ip_address("fd00:77::2"))
    assert found.allowed == {ip_network("0.0.0.0/0"), ip_network("fd00::/8")}


def test_guests_send_into_the_tunnel_what_their_addresses_can_speak_to() -> None:
    carried = (ip_network("10.9.0.0/16"), ip_network("fd00:9::/64"), ip_network("0.0.0.0/0"))
    found = reach_of(NETWORKS[:1], (ip_network("10.8.0.0/16"),), carried)

    assert found == (ip_network("10.8.0.0/15"), NETWORKS[0])
