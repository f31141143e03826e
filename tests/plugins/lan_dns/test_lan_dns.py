"""Hosts of the LAN are answered, others are not, and lists block what they say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gatepost.api import (
    DnsSettings,
    Item,
    Listen,
    LocalNetworks,
    MeshNames,
    NameView,
    Notice,
    Observed,
    Service,
    Watch,
    WatchLocalNetworks,
)
from gatepost.testing.makers import make_netmap
from gatepost_plugins import lan_dns
from gatepost_plugins.lan_dns.serving import Parameters, WatchLists, serve

LAN, WAN = ip_network("192.168.1.0/24"), ip_network("203.0.113.0/24")
HERE = LocalNetworks(
    networks=(LAN, WAN, ip_network("fd00:1::/64")),
    addresses=tuple(map(ip_address, ("192.168.1.1", "203.0.113.5", "fd00:1::1"))),
)
NETMAP = replace(make_netmap(), dns=DnsSettings(is_on=True))


def items(
    settings: lan_dns.Settings | None = None, problems: tuple[str, ...] = (), **changes: Any
) -> list[Item]:
    seen: dict[Watch[Any], object] = {WatchLocalNetworks(): HERE, WatchLists(): problems}
    observed = Observed(MappingProxyType(seen))
    netmap = replace(NETMAP, **changes)
    return list(lan_dns.contribute(netmap, settings or lan_dns.Settings(), observed))


def sources(found: list[Item]) -> tuple[Any, ...]:
    (service,) = [i for i in found if isinstance(i, Service)]
    assert isinstance(service.params, Parameters)
    return service.params.sources


def test_it_listens_at_private_addresses_and_answers_their_networks() -> None:
    found = items()
    listens = [i for i in found if isinstance(i, Listen)]

    assert {(i.protocol, i.zone, i.port) for i in listens} == {
        ("udp", "lan", 53),
        ("tcp", "lan", 53),
    }
    assert listens[0].addresses == (ip_address("192.168.1.1"), ip_address("fd00:1::1"))
    assert sources(found) == (LAN, ip_network("fd00:1::/64"))


def test_a_public_network_is_answered_only_if_the_operator_names_it() -> None:
    assert WAN not in sources(items())
    assert sources(items(lan_dns.Settings(networks=(WAN,)))) == (WAN,)


def test_without_an_address_in_the_networks_it_says_so() -> None:
    (notice,) = [i for i in items(lan_dns.Settings(networks=(ip_network("10.9.0.0/16"),)))
                 if isinstance(i, Notice)]  # fmt: skip

    assert "10.9.0.0/16" in notice.text


def test_names_of_the_mesh_are_known_unless_they_are_off() -> None:
    assert any(isinstance(i, MeshNames) for i in items())
    assert not any(isinstance(i, MeshNames) for i in items(dns=DnsSettings()))


def test_what_is_wrong_with_a_list_is_told() -> None:
    found = items(lan_dns.Settings(block_lists=("/a/list",)), problems=("/a/list: gone",))

    assert [i.text for i in found if isinstance(i, Notice)] == ["/a/list: gone"]


@pytest.mark.parametrize("text", ["list.txt", "http://lists.example/ads", "ftp://x/y", "https://"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="list"):
        lan_dns.Settings(block_lists=(text,))


@dataclass
class Context:
    """What the daemon gives to a service: it remembers how names are answered."""

    views: list[NameView] = field(default_factory=list[NameView])
    told: dict[Watch[Any], object] = field(default_factory=dict[Watch[Any], object])
    blocking: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, watch: Watch[Any], value: object) -> None:
        self.told[watch] = value

    def status(self) -> str:
        return "{}"

    def sockets(self) -> tuple[int, ...]:
        return ()

    async def answer_names(self, view: NameView) -> None:
        self.views.append(view)
        if view.blocked or self.told:
            self.blocking.set()
        await asyncio.Event().wait()


async def serve_until_lists_are_read(*lists: str) -> Context:
    context = Context()
    running = asyncio.get_running_loop().create_task(
        serve(context, Parameters(sources=(LAN,), lists=lists))
    )
    async with asyncio.timeout(10):
        await context.blocking.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return context


async def test_names_are_answered_before_and_after_the_lists_are_read(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("ads.example\n")
    other.write_text("0.0.0.0 more.example\n")
    context = await serve_until_lists_are_read(str(one), str(other))

    assert context.views[0] == NameView(sources=(LAN,))
    assert context.views[-1].blocked == {"ads.example", "more.example"}
    assert context.told == {WatchLists(): ()}


async def test_a_list_that_cannot_be_read_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("ads.example\n")
    (tmp_path / "page").write_text("<html>moved\n")
    missing, page = str(tmp_path / "gone"), str(tmp_path / "page")
    context = await serve_until_lists_are_read(missing, page, str(tmp_path / "one"))
    told = context.told[WatchLists()]

    assert context.views[-1].blocked == {"ads.example"}
    assert str(told).count(missing) >= 1
    assert f"{page}: there is no name in the list" in str(told)
