"""Whether the answers of a LAN's hosts to other sites come back through this box."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from gatepost.errors import SettingsError, UnreachableError
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.process import LocalNetworks
from gatepost.model.status import ReturnDocument, ReturnPathDocument
from gatepost.net.return_path import Answer, ask_as, own_address_towards
from gatepost.sessions.lan_routes import routes_for

MOST = 16  # networks that are asked for at once


def read_host(text: str) -> IPAddress:
    """Read the address of a host; raise `SettingsError`."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no address of a host", hint="for example: 192.168.1.20"
        ) from error


async def check_return_path(
    target: IPAddress, local: LocalNetworks, carried: Sequence[IPNetwork], seconds: float
) -> ReturnPathDocument:
    """Ask a host as this box, and then as an address of each network that the mesh carries."""
    if target in local.addresses:
        raise SettingsError(f"{target} is this box itself: name another host of the LAN")
    mine = own_address_towards(target)
    if mine is None:
        raise UnreachableError(f"this box has no way to {target}")
    lan = next((n for n in local.networks if target in n), ip_network(target))
    networks = routes_for(lan, carried)[:MOST]
    sources = [source_in(network) for network in networks]
    control, *answers = await asyncio.gather(
        ask_as(target, mine, seconds), *(ask_as(target, s, seconds) for s in sources)
    )
    results = tuple(
        _result(network, source, answer, control)
        for network, source, answer in zip(networks, sources, answers, strict=True)
    )
    return ReturnPathDocument(
        target=str(target),
        via=str(mine),
        alive=control is not None or any(r.answer != "none" for r in results),
        results=results,
    )


def source_in(network: IPNetwork) -> IPAddress:
    """Return an address of a network that is seldom anybody's: the last that a host may have."""
    return network[-2] if network.num_addresses > 2 else network[0]  # noqa: PLR2004  # broadcast


def _result(
    network: IPNetwork, source: IPAddress, answer: Answer | None, control: Answer | None
) -> ReturnDocument:
    if answer is None:
        return ReturnDocument(network=str(network), source=str(source), answer="none")
    is_direct = control is None or control.sender == answer.sender
    return ReturnDocument(
        network=str(network),
        source=str(source),
        answer="host" if is_direct else "router",
        device=answer.device,
        sender=answer.sender,
        latency=answer.latency,
    )
