"""Writes what the packet filter says about guests: machines behind a device of their own. No I/O.

input       from a guest: as from the mesh
forward     guest to mesh: as from a network of this site; the box there judges. So not to
            4via6 sites, where it would come from this machine's address, and be judged as it
            guest to network, network to guest, guest to guest: what the rules admit
            mesh to guest: as to a network of this site
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatepost.engine.nft_text import spans_of
from gatepost.model.guests import Guests
from gatepost.model.kernel import Sender
from gatepost.model.via6 import PREFIX


def guest_senders(guests: Iterable[Guests]) -> list[Sender]:
    """Return that what guests send comes through their device only."""
    return [Sender(network, g.device) for g in guests for network in g.networks]


def guest_chains(guests: Iterable[Guests], *, known: str) -> Iterator[str]:
    """Write the chains; `known` is the rule that accepts what was judged under these rules."""
    if not any(spans_of(g.networks, version) for g in guests for version in (4, 6)):
        return
    yield "\tchain guest_to_own {"
    yield known
    yield """\
		ct state established ct direction reply accept
		meta l4proto { 1, 58 } jump unwanted
		ct state related accept
		ct state invalid counter drop
		ip daddr @own4 goto to_own
		ip6 daddr @own6 goto to_own
		fib daddr type != local counter drop
		ip daddr @forward4 goto admit4
		ip6 daddr @forward6 goto admit6
		counter drop
	}
	chain guest_to_network {"""
    yield known
    yield """\
		ct state established ct direction reply accept
		meta l4proto { 1, 58 } jump unwanted
		ct state related accept
		ct state invalid counter drop
		ip daddr @forward4 goto mesh_to_network4
		ip6 daddr @forward6 goto mesh_to_network6
		counter drop
	}
	chain network_to_guest {"""
    yield known
    yield """\
		ct state established ct direction reply accept
		ct state related accept
		ct state invalid counter drop
		meta nfproto ipv4 goto admit4
		goto admit6
	}"""


def guest_input(guests: Iterable[Guests]) -> Iterator[str]:
    yield from (f'\t\tiifname "{g.device}" goto guest_to_own' for g in guests if g.networks)


def guest_to_sites(guests: Iterable[Guests]) -> Iterator[str]:
    """Write what keeps them from where they would have this machine's address and its rights."""
    yield from (
        f'\t\tiifname "{g.device}" ip6 daddr {PREFIX} counter drop' for g in guests if g.networks
    )


def guest_forward(guests: Iterable[Guests]) -> Iterator[str]:
    """Write the rules that lead there; what comes from or goes to the mesh never gets here."""
    for g in guests:
        if g.networks:
            yield f'\t\tiifname "{g.device}" goto guest_to_network'
            yield f'\t\toifname "{g.device}" goto network_to_guest'
