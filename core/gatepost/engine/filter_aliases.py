"""Writes what the packet filter says about 4via6: of aliases of peers, and of those sites. No I/O.

An alias comes out of a program on the device, never out of WireGuard. It may go to what
is translated for it and nowhere else, and nothing but an alias goes there because of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from gatepost.engine.admission import Span
from gatepost.engine.nft_text import address_set
from gatepost.model.netmap import IPNetwork
from gatepost.model.owned import ALIAS_NETWORK
from gatepost.model.via6 import PREFIX


def alias_chains(reached: Sequence[Span], mark: str) -> Iterator[str]:
    """Write the chains `alias_to_own` and `alias_to_network`; `mark` asks for a masquerade."""
    yield from address_set("translated4", 4, reached)
    yield "\tchain alias_to_own {"
    yield "\t\tfib daddr type != local counter drop"
    yield "\t\tip daddr @translated4 goto admit4"
    yield "\t\tcounter drop"
    yield "\t}"
    yield "\tchain alias_to_network {"
    yield "\t\tfib daddr type != unicast counter drop"
    yield "\t\tip daddr != @translated4 counter drop"
    yield f"\t\t{mark}"
    yield "\t\tgoto admit4"
    yield "\t}"


def from_alias(networks: Sequence[IPNetwork], where: Literal["own", "network"]) -> Iterator[str]:
    """Write the rule that leads to such a chain, if anything is translated."""
    if networks:
        yield f"\t\tip saddr {ALIAS_NETWORK} goto alias_to_{where}"


def sent_to_sites(device: str, source: str) -> Iterator[str]:
    """Give hosts here this machine's own address (`source`) on their way to a 4via6 site.

    The router there has an alias for each machine of the mesh, and none for hosts.
    """
    yield f'\t\toifname "{device}" ip6 daddr {PREFIX} {source}'
