"""The imported providers of a box."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.wire.test_wg_quick import FILE, SECRET, SHARED

from gatepost.daemon.providers import MOST, ProviderProbe, Providers, ServerProbe
from gatepost.daemon.store import Store
from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.linux.wireguard_state import PeerState
from gatepost.model.netmap import parse_endpoint
from gatepost.model.provider import Provider, WatchProvider, WatchServer
from gatepost.model.status import ProviderRequest
from gatepost.testing.makers import make_private
from gatepost.wire.wg_quick import read_wg_quick


@dataclass(slots=True)
class Box:
    """What providers need of a box."""

    used: str = ""
    peer: PeerState | None = None
    told: dict[WatchProvider, Provider | None] = field(
        default_factory=dict[WatchProvider, Provider | None]
    )

    async def peer_now(self) -> PeerState | None:
        return self.peer


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close()


@pytest.fixture
def providers(store: Store, box: Box) -> Providers:
    return Providers(
        store=store,
        publish=box.told.__setitem__,
        in_use=lambda: box.used,
        peer_now=box.peer_now,
    )


def take(providers: Providers, name: str = "rented", text: str = FILE) -> None:
    asyncio.run(providers.take(ProviderRequest(name=name, text=text)))


def test_an_imported_file_is_told_to_the_plugins_and_survives(
    providers: Providers, box: Box
) -> None:
    take(providers)

    assert box.told == {WatchProvider("rented"): read_wg_quick(FILE)}
    probe = ProviderProbe(providers)
    assert asyncio.run(probe.ask(WatchProvider("rented"))) == read_wg_quick(FILE)
    assert asyncio.run(probe.ask(WatchProvider("other"))) is None
    assert asyncio.run(probe.ask(WatchProvider("../identity"))) is None


def test_what_is_shown_has_no_secret_and_neither_has_the_disk(
    providers: Providers, box: Box, store: Store
) -> None:
    take(providers)
    box.used = "rented"
    server = read_wg_quick(FILE).server
    box.peer = PeerState(public_key=server, last_handshake=5.0, received=7, sent=9)
    (shown,) = asyncio.run(providers.documents())

    assert (shown.name, shown.used, shown.server) == ("rented", True, "de-1.example.com:51820")
    assert shown.carries == ("IPv4", "IPv6")
    assert (shown.last_handshake, shown.received, shown.sent) == (5.0, 7, 9)
    written = b"".join(p.read_bytes() for p in store.directory.iterdir() if p.is_file())
    for secret in (SECRET, SHARED):
        assert secret not in str(shown)
        assert secret.encode() not in written


def test_a_server_s_ipv6_address_is_told_from_its_port(providers: Providers) -> None:
    take(providers, text=FILE.replace("DE-1.example.com:51820", "[2001:db8::1]:51820"))
    (shown,) = asyncio.run(providers.documents())

    assert shown.server == "[2001:db8::1]:51820"


def test_the_counters_of_another_tunnel_are_not_shown(providers: Providers, box: Box) -> None:
    take(providers)
    take(providers, "other")
    box.used = "rented"
    box.peer = PeerState(public_key=read_wg_quick(FILE).server, last_handshake=5.0)
    other, rented = asyncio.run(providers.documents())

    assert (other.name, other.last_handshake) == ("other", None)
    assert (rented.name, rented.last_handshake) == ("rented", 5.0)


def test_the_one_in_use_is_not_removed_and_another_is(providers: Providers, box: Box) -> None:
    take(providers)
    box.used = "rented"
    with pytest.raises(RefusedError, match="rented is in use"):
        asyncio.run(providers.remove("rented"))
    box.used = ""
    asyncio.run(providers.remove("rented"))

    assert asyncio.run(providers.documents()) == ()
    assert box.told[WatchProvider("rented")] is None
    with pytest.raises(NotFoundError):
        asyncio.run(providers.remove("rented"))


@pytest.mark.parametrize("name", ["", "Big", "a b", "../x", "x" * 33, "-x"])
def test_a_name_that_is_none_is_refused(providers: Providers, name: str) -> None:
    with pytest.raises(SettingsError, match="is no name for a provider"):
        take(providers, name)


def test_a_wrong_file_replaces_nothing(providers: Providers) -> None:
    take(providers)
    with pytest.raises(SettingsError, match="PostUp"):
        take(providers, text=FILE.replace("MTU = 1420", "PostUp = reboot"))

    assert providers.load("rented") == read_wg_quick(FILE)


def test_a_damaged_file_is_shown_with_the_reason(providers: Providers, store: Store) -> None:
    take(providers)
    (store.directory / "exit-provider-rented").write_bytes(b"GPS1" + bytes(60))
    (shown,) = asyncio.run(providers.documents())

    assert "damaged" in shown.error


def test_there_is_a_limit(providers: Providers, store: Store) -> None:
    for number in range(MOST):
        store.save(f"exit-provider-p{number}", b"")
    with pytest.raises(RefusedError, match="remove one first"):
        take(providers)


def test_where_the_tunnel_leads_is_known_after_a_restart(providers: Providers, box: Box) -> None:
    server = read_wg_quick(FILE).server

    def ask() -> object:
        return asyncio.run(ServerProbe(providers).ask(WatchServer(server)))

    assert ask() is None
    box.peer = PeerState(public_key=server, endpoint=parse_endpoint("203.0.113.9:51820"))
    assert ask() == ip_address("203.0.113.9")
    box.peer = PeerState(public_key=make_private(9).public, endpoint=box.peer.endpoint)
    assert ask() is None
