"""The core's own probes: what this machine is attached to, and facts about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gatepost.errors import SettingsError
from gatepost.linux.bpf import why_unusable
from gatepost.linux.bpf_pins import why_unfindable
from gatepost.linux.interfaces import Attachment
from gatepost.model.gateway import AnyGateway, Gateway
from gatepost.model.netmap import IPAddress
from gatepost.model.observed import Watch
from gatepost.model.owned import DEVICES
from gatepost.model.process import LocalNetworks, WatchFact

Fact = Callable[[], str]


class Surroundings:
    """Reads where this machine stands, and remembers it for those who cannot wait."""

    def __init__(self, read: Callable[[], Awaitable[Attachment]]) -> None:
        self._read = read
        self._listeners: list[Callable[[], None]] = []
        self.latest = Attachment(local=LocalNetworks())

    def on_gateways(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the way to the internet is another one; it must not wait."""
        self._listeners.append(listener)

    async def look(self) -> Attachment:
        before, self.latest = self.latest, await self._read()
        now = self.latest
        if (now.gateways, now.gateways_v6) != (before.gateways, before.gateways_v6):
            for listener in self._listeners:
                listener()
        return self.latest

    async def look_at_networks(self) -> LocalNetworks:
        return (await self.look()).local

    async def look_at_links(self) -> tuple[str, ...]:
        return (await self.look()).links

    def gateways(self) -> tuple[Gateway, ...]:
        """Return the routers by which this machine reaches the internet."""
        return self.latest.gateways

    def all_gateways(self) -> tuple[AnyGateway, ...]:
        """Return the routers for IPv4 and those for IPv6."""
        return (*self.latest.gateways, *self.latest.gateways_v6)

    def endpoints(self) -> tuple[IPAddress, ...]:
        """Return the addresses at which other machines might reach this one."""
        return self.latest.endpoints


@dataclass(frozen=True, slots=True)
class OneQuestionProbe:
    """Answers watches without arguments, of which there is one of a type, by calling `read`."""

    answers: type[Watch[Any]]
    read: Callable[[], Awaitable[object]]

    async def ask(self, watch: Watch[Any]) -> object:  # noqa: ARG002  # there is one such question
        return await self.read()


@dataclass(frozen=True, slots=True)
class FactsProbe:
    """Facts by their name; each is read in a thread."""

    facts: Mapping[str, Fact]
    answers: type[Watch[Any]] = WatchFact

    async def ask(self, watch: Watch[Any]) -> object:
        name = cast(WatchFact, watch).name  # `answers` says so
        if name not in self.facts:
            raise SettingsError(f"no fact is called {name}: there is {', '.join(self.facts)}")
        return await asyncio.to_thread(self.facts[name])


def links_accepting_ra(root: Path = Path("/proc/sys/net/ipv6/conf")) -> str:
    """Return the devices that listen to router advertisements, with spaces between.

    A device that was told to do so even while forwarding (2) stays one of them.
    """
    found, others = list[str](), {"all", "default", "lo"} | DEVICES
    for path in sorted(root.glob("*/accept_ra")):
        name = path.parent.name
        if name not in others and path.read_text().strip() in {"1", "2"}:
            found.append(name)
    return " ".join(found)


def why_no_programs() -> str:
    """Return why the kernel's packet path takes no program of ours, nothing if it does."""
    return why_unusable() or why_unfindable()


FACTS: Mapping[str, Fact] = {"accept-ra": links_accepting_ra, "bpf": why_no_programs}
