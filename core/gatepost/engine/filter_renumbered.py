"""Writes what the packet filter says about networks that the mesh knows by other addresses. No I/O.

A packet is judged while it still says where it was sent, before the kernel rewrites that: so a
grant to the outer network is none to the inner one, and the other way round. Behind it only what
was judged so goes on; by its inner address nobody gets in because of this.

    prerouting  mangle   what the rules admit to the outer network is remembered, the rest dropped
    prerouting  dstnat   outer -> inner, host by host, once for each flow
    forward     filter   an inner address of a flow that was sent to an outer one, remembered: on
    postrouting srcnat   a host's own flow into the mesh: inner -> outer

Conntrack rewrites the answers and what ICMP errors quote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from gatepost.engine.admission import Span, subtract
from gatepost.engine.nft_text import address_set, spans_of
from gatepost.model.renumber import Renumber

Where = Literal["own", "network"]


def renumbered_sets(pairs: Sequence[Renumber], never: Sequence[Span]) -> Iterator[str]:
    """Write the sets `renumbered4` (outer) and `renumbered_inside4`."""
    if pairs:
        outer, inner = [p.outside for p in pairs], [p.inside for p in pairs]
        yield from address_set("renumbered4", 4, spans_of(outer, 4))
        yield from address_set("renumbered_inside4", 4, subtract(spans_of(inner, 4), never))


def renumbered_chains(
    pairs: Sequence[Renumber], *, device: str, known: str, judged: str, mark: str
) -> Iterator[str]:
    """Write the chains before and behind the rewriting.

    `known` is the rule that accepts what was judged under these rules, `judged` the match in it;
    `mark` asks for a masquerade.
    """
    if not pairs:
        return
    yield "\tchain renumber_judge {"
    yield known
    yield "\t\tct state established ct direction reply accept"
    yield "\t\tmeta l4proto 1 jump unwanted"
    yield "\t\tjump carried"
    yield "\t\tct state related accept"
    yield "\t\tct state invalid counter drop"
    yield "\t\tgoto admit4"
    yield "\t}"
    yield "\tchain renumber_admit {"
    yield "\t\ttype filter hook prerouting priority mangle; policy accept;"
    yield f'\t\tiifname "{device}" ip daddr @renumbered4 goto renumber_judge'
    yield "\t}"
    yield "\tchain renumber {"
    yield "\t\ttype nat hook prerouting priority dstnat; policy accept;"
    for pair in _ordered(pairs):
        yield f'\t\tiifname "{device}" ip daddr {pair.outside} dnat ip prefix to {pair.inside}'
    yield "\t}"
    for where, kind, masquerade in (("own", "local", ""), ("network", "unicast", mark)):
        yield f"\tchain renumbered_to_{where} {{"
        yield f"\t\tfib daddr type != {kind} counter drop"
        yield "\t\tip daddr != @renumbered_inside4 counter drop"
        if masquerade:
            yield f"\t\tip daddr @masquerade4 {masquerade}"
        yield f"\t\t{judged} accept"
        yield "\t\tcounter drop"
        yield "\t}"


def sent_to_renumbered(pairs: Sequence[Renumber], where: Where) -> Iterator[str]:
    """Write the rule that leads to such a chain."""
    if pairs:
        yield f"\t\tct original ip daddr @renumbered4 goto renumbered_to_{where}"


def sent_by_renumbered(pairs: Sequence[Renumber], device: str) -> Iterator[str]:
    """Give a host's own flow into the mesh its outer address."""
    for pair in _ordered(pairs):
        yield f'\t\toifname "{device}" ip saddr {pair.inside} snat ip prefix to {pair.outside}'


def _ordered(pairs: Sequence[Renumber]) -> list[Renumber]:
    return sorted({*pairs}, key=lambda pair: pair.outside)
