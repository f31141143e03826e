"""Wakes sleeping machines of this LAN for peers that the policy grants it to.

A peer asks at the peer API, and must have been granted the capability there; what is sent is
one packet for one machine, made here. Nothing else reaches the LAN by this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatepost.api import (
    Handler,
    Item,
    Level,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    WatchLinks,
    about,
    hookimpl,
)
from gatepost.wire.wake_on_lan import CAPABILITY, PATH
from gatepost_plugins.wake_on_lan.waking import Waker, read_machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    machines: tuple[str, ...] = field(
        default=(),
        metadata=about("Machines", "Names for link addresses, each such as nas=00:11:22:33:44:55."),
    )
    links: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Devices", "Where machines are woken, such as lan0; empty: every one that is up."
        ),
    )

    def __post_init__(self) -> None:
        read_machines(self.machines)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Wake-on-LAN",
        summary="Wakes machines of this LAN for peers that the policy grants it to.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchLinks()
    up = observed.get(WatchLinks(), ())
    if missing := [link for link in settings.links if up and link not in up]:
        yield Notice("wake-device", f"{', '.join(missing)}: not up, so nobody is woken there")
    links = tuple(link for link in up if not settings.links or link in settings.links)
    yield Handler("peer", PATH, Waker(links, settings.machines), CAPABILITY)
    if netmap.peers and not any(netmap.may(peer, CAPABILITY) for peer in netmap.peers):
        yield Notice(
            "wake-unused",
            f"no peer may wake machines here: the policy grants {CAPABILITY} on this box to nobody",
            Level.INFO,
        )
