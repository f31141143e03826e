"""The key of this box for plain WireGuard, and what it says about who uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType

import pytest

from gatepost.daemon.guests import PREFIX, GuestDesk, TunnelKeyProbe
from gatepost.daemon.settings_file import BoxSettings
from gatepost.daemon.store import Store
from gatepost.errors import SettingsError, StateError
from gatepost.linux.wireguard_state import PeerState
from gatepost.model.guests import Guests, WatchTunnelKey
from gatepost.model.keys import NodePrivate
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import GUEST_DEVICE, MARK
from gatepost.model.resource import Resource
from gatepost.model.tunnel import Tunnel
from gatepost.testing.makers import make_private

WATCH = WatchTunnelKey("plain-wireguard")
PHONE = make_private(9).public
GUESTS = Guests(GUEST_DEVICE, frozenset({ip_network("10.77.1.0/24")}))
TUNNEL = Tunnel(name=GUEST_DEVICE, private_key=make_private(7), port=4500, mark=MARK, mtu=1280)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close()


async def test_the_key_is_made_once_and_stays(store: Store) -> None:
    first = await TunnelKeyProbe(store).ask(WATCH)

    assert isinstance(first, NodePrivate)
    assert await TunnelKeyProbe(store).ask(WATCH) == first
    assert await TunnelKeyProbe(store).ask(WatchTunnelKey("other")) != first


async def test_a_damaged_key_is_not_replaced_but_told(store: Store) -> None:
    store.save(PREFIX + WATCH.purpose, b"nothing of the kind")

    with pytest.raises(StateError, match=r"tunnel-key-plain-wireguard.*invited again"):
        await TunnelKeyProbe(store).ask(WATCH)


@pytest.mark.parametrize("purpose", ["", "../identity", "Phone", "a" * 33])
async def test_a_purpose_is_no_path(store: Store, purpose: str) -> None:
    with pytest.raises(SettingsError, match="purpose"):
        await TunnelKeyProbe(store).ask(WatchTunnelKey(purpose))


class Paper:
    """A device with one peer, or one that is somebody else's."""

    def __init__(self, *peers: PeerState, broken: bool = False) -> None:
        self._peers, self._broken = peers, broken

    async def peers(self) -> tuple[PeerState, ...]:
        if self._broken:
            raise OSError("the device is a stranger's")
        return self._peers


def make_desk(device: Paper, *wanted: Resource, host: str = "") -> GuestDesk:
    values = {"peers": [f"phone 2 {PHONE.base64}"], "host": host}
    box = BoxSettings(plugins=MappingProxyType({"plain-wireguard": values}))
    settings: Callable[[], BoxSettings] = lambda: box  # noqa: E731  # one value
    return GuestDesk(
        device=device,
        box=settings,
        wanted=lambda: wanted,
        shared=lambda: (ip_network("10.8.0.0/16"),),
        seen=lambda: (ip_address("2001:db8::1"), ip_address("192.0.2.1")),
    )


async def test_the_document_says_what_an_app_needs_and_who_was_heard() -> None:
    heard = PeerState(
        public_key=PHONE,
        endpoint=Endpoint(ip_address("192.0.2.9"), 7),
        last_handshake=1.5,
        received=3,
        sent=4,
    )
    found = await make_desk(Paper(heard), TUNNEL, GUESTS).document((ip_network("10.9.0.0/16"),))

    assert (found.key, found.port) == (make_private(7).public.base64, 4500)
    assert found.host == "[2001:db8::1]"
    assert found.reach == ("10.8.0.0/15", "10.77.1.0/24")
    (guest,) = found.guests
    assert (guest.name, guest.addresses, guest.endpoint) == ("phone", ("10.77.1.2",), "192.0.2.9:7")
    assert (guest.last_handshake, guest.received, guest.sent) == (1.5, 3, 4)


async def test_a_host_that_was_set_counts_and_a_strangers_device_says_nothing() -> None:
    desk = make_desk(Paper(broken=True), TUNNEL, GUESTS, host="vpn.example.org")
    found = await desk.document(())

    assert found.host == "vpn.example.org"
    assert found.guests[0].last_handshake is None


async def test_nothing_is_ready_without_a_tunnel() -> None:
    found = await make_desk(Paper(), GUESTS).document(())

    assert (found.key, found.guests) == ("", ())
