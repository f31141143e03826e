"""Gathers what is known of the networks around this box, for `gatepost lan`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gatepost.daemon.carriers import Carriers
from gatepost.daemon.dhcp_configs import read_leases
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.probes import Surroundings
from gatepost.daemon.wishes import Wishes
from gatepost.engine.surroundings import describe_surroundings
from gatepost.errors import UnreachableError
from gatepost.linux.around import read_interfaces
from gatepost.linux.netlink import Netlink
from gatepost.model.surroundings import AroundFacts, SurroundingsDocument
from gatepost.net.portmap import PortMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAround:
    """Reads the kernel and files; everything else is there already."""

    netlink: Netlink
    surroundings: Surroundings
    carriers: Carriers
    port_mapping: PortMapping
    inputs: Inputs
    wishes: Wishes

    async def __call__(self) -> SurroundingsDocument:
        """Raise `UnreachableError` if the kernel cannot be asked."""
        try:
            interfaces = await read_interfaces(self.netlink)
        except OSError as error:
            raise UnreachableError(f"the kernel cannot be read: {error}") from error
        leases = await asyncio.to_thread(read_leases)
        netmap, gateways = self.inputs.netmap, self.surroundings.gateways()
        surveyed = self.carriers.surveyed
        return describe_surroundings(
            AroundFacts(
                interfaces=interfaces,
                uplinks=frozenset(g.device for g in gateways),
                gateways=tuple((g.device, g.address) for g in gateways),
                seen=tuple(e.address for e in surveyed.seen) if surveyed else (),
                mapped=tuple(e.address for e in self.port_mapping.endpoints()),
                leases=leases,
                remote=tuple(
                    (route, peer.label)
                    for peer in (netmap.peers if netmap else ())
                    for route in peer.routes
                ),
                shared=self.wishes.advertised(),
                approved=netmap.me.routes if netmap else (),
            )
        )
