"""Pairs of networks, "10.201.7.0/24=192.168.1.0/24": how they are written, which are refused."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from itertools import combinations

from gatepost.api import IPNetwork, Renumber, why_never_behind

EXAMPLE = "10.201.7.0/24=192.168.1.0/24"
_WIDEST = 8  # bits of a prefix: IPv4 has no wider private network


def read_pair(text: str) -> Renumber:
    """Read one pair; raise ValueError that names what is wrong and how it is written."""
    outside, equals, inside = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is no pair of networks such as {EXAMPLE}")
    try:
        pair = Renumber(IPv4Network(outside.strip()), IPv4Network(inside.strip()))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; write it like {EXAMPLE}") from error
    if pair.outside.prefixlen != pair.inside.prefixlen:
        raise ValueError(
            f"{text!r}: both need the same length, /{pair.outside.prefixlen} is not "
            f"/{pair.inside.prefixlen}"
        )
    return pair


def read_pairs(texts: Sequence[str]) -> tuple[Renumber, ...]:
    """Read all pairs; raise ValueError when an address would have two meanings."""
    pairs = tuple(read_pair(text) for text in texts)
    for one, other in combinations(pairs, 2):
        for a, b in ((one.outside, other.outside), (one.inside, other.inside)):
            if a.overlaps(b):
                raise ValueError(f"{a} and {b} overlap: a host would have two addresses")
    for one in pairs:
        for other in pairs:
            if one.outside.overlaps(other.inside):
                raise ValueError(
                    f"{one.outside} overlaps {other.inside}, which is a network here: choose a "
                    "prefix that no site uses"
                )
    return pairs


def unfit(pair: Renumber, attached: Sequence[IPNetwork]) -> str:
    """Say why a pair cannot be used on this machine; nothing if it can."""
    for network in (pair.inside, pair.outside):
        if network.prefixlen < _WIDEST:
            return f"{network} is wider than any private network"
        if reason := why_never_behind(network):
            return f"{network}: {reason}"
    if not pair.outside.is_private:
        return f"{pair.outside} belongs to somebody on the internet; choose a private prefix"
    for here in attached:
        if isinstance(here, IPv4Network) and here.overlaps(pair.outside):
            return f"this box is attached to {here}; choose a prefix that no site uses"
    return ""
