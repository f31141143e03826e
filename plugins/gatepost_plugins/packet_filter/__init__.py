"""Lets in from the mesh what the policy allows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatepost.api import (
    MESH_V4,
    MESH_V6,
    Admit,
    Item,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    Sender,
    hookimpl,
    owned,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Nothing to choose: the policy is the coordination server's."""


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Packet filter",
        summary="Lets in from the mesh what the policy allows, and nothing else.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield Sender(MESH_V4, owned.DEVICE)
    yield Sender(MESH_V6, owned.DEVICE)
    if netmap.filter is None:
        yield Notice(
            "no-policy",
            "the coordination server has sent no policy, so nothing may come in from the mesh",
        )
        return
    yield from (Admit(rule) for rule in netmap.filter)
