"""Writes what keeps TCP segments small enough for the tunnel. No I/O."""

from __future__ import annotations

from collections.abc import Iterator


def clamp_chains(device: str) -> Iterator[str]:
    """Write the chains that lower the segment size; `rt mtu` takes the smaller of both ways."""
    yield "\tchain clamp_segment {"
    for address, version in (("ip", 4), ("ip6", 6)):
        for side in ("saddr", "daddr"):
            yield (f"\t\t{address} {side} @clamp{version} tcp option maxseg size set rt mtu return")
    yield "\t}"
    yield "\tchain clamp {"
    yield "\t\ttype filter hook forward priority mangle; policy accept;"
    yield f'\t\tiifname "{device}" tcp flags & (syn | rst) == syn jump clamp_segment'
    yield f'\t\toifname "{device}" tcp flags & (syn | rst) == syn jump clamp_segment'
    yield "\t}"
