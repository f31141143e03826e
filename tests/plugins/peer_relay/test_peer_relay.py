"""What the cases cannot say: capabilities, grants, and settings that are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatepost.api import Endpoint, Notice, Observed
from gatepost.engine.settings import read_settings
from gatepost.errors import SettingsError
from gatepost.model.netmap import Grant
from gatepost.testing.makers import make_netmap, make_node, make_range
from gatepost_plugins import peer_relay
from gatepost_plugins.peer_relay import MAY_USE, Settings, read_endpoint

NOTHING = Observed()


def test_where_the_server_forbids_it_there_is_no_relay_but_a_notice() -> None:
    me = replace(make_node(1), capabilities={"disable-relay-server": ()})
    (notice,) = peer_relay.contribute(make_netmap(me=me), Settings(), NOTHING)

    assert isinstance(notice, Notice)
    assert notice.code == "relay-forbidden"


def test_somebody_who_may_use_it_ends_the_notice_that_nobody_may() -> None:
    everywhere = (make_range("0.0.0.0/0"), make_range("::/0"))
    grant = Grant(sources=everywhere, destinations=everywhere, capabilities={MAY_USE: ()})
    lonely = make_netmap(2)
    useful = replace(lonely, grants=(grant,))
    codes = [
        {i.code for i in peer_relay.contribute(n, Settings(), NOTHING) if isinstance(i, Notice)}
        for n in (lonely, useful)
    ]

    assert codes == [{"relay-unused"}, set()]


@pytest.mark.parametrize("text", ["203.0.113.5:41650", "[2001:db8::5]:1"])
def test_an_endpoint_is_read_as_people_write_it(text: str) -> None:
    endpoint = read_endpoint(text)

    assert isinstance(endpoint, Endpoint)
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    ["", "203.0.113.5", "203.0.113.5:0", "203.0.113.5:65536", "2001:db8::5:1", "[203.0.113.5]:1",
     "gate.example:41650", "203.0.113.5:-1", "203.0.113.5:٣"],
)  # fmt: skip
def test_a_wrong_endpoint_is_refused_and_named(text: str) -> None:
    with pytest.raises(SettingsError, match="peer-relay"):
        read_settings(Settings, {"static-endpoints": [text]}, "peer-relay")
