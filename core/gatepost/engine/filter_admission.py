"""Writes what the packet filter says about who may reach what: the rules of the policy. No I/O.

A source leads to its targets, a target to its services. A packet that is admitted goes to the
chain `admitted`, which the caller writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatepost.engine.admission import Admission, Services, Span
from gatepost.engine.nft_text import address_text, elements, number_text

# Up to this many elements are written as rules: the kernel looks through all sets of a
# table to name a new one, so 10,000 small sets took it 85 s, as many rules half a second.
FEW = 8


def admission_chains(tables: Admission, version: int) -> Iterator[str]:
    """Write the tables of one version: a chain per services, per targets, then the sources."""
    address = "ip" if version == 4 else "ip6"  # noqa: PLR2004  # the version of IP
    for number, services in enumerate(tables.services):
        yield f"\tchain services{version}_{number} {{"
        yield from _services(services)
        yield "\t}"
    for number, target in enumerate(tables.targets):
        yield f"\tchain targets{version}_{number} {{"
        verdicts = [(address_text(a, b, version), f"services{version}_{n}") for a, b, n in target]
        yield from _targets(f"{address} daddr", verdicts)
        yield "\t\tcounter drop"
        yield "\t}"
    yield f"\tmap sources{version} {{"
    yield f"\t\ttype {'ipv4' if version == 4 else 'ipv6'}_addr : verdict; flags interval;"  # noqa: PLR2004
    yield from elements(
        f"{address_text(first, last, version)} : goto targets{version}_{index}"
        for first, last, index in tables.sources
    )
    yield "\t}"
    yield f"\tchain admit{version} {{"
    yield f"\t\t{address} saddr vmap @sources{version}"
    yield "\t\tcounter drop"
    yield "\t}"


def _targets(field: str, verdicts: Sequence[tuple[str, str]]) -> Iterator[str]:
    if len(verdicts) <= FEW:
        yield from (f"\t\t{field} {addresses} goto {chain}" for addresses, chain in verdicts)
        return
    elements = ",\n".join(f"\t\t\t{addresses} : goto {chain}" for addresses, chain in verdicts)
    yield f"\t\t{field} vmap {{\n{elements}\n\t\t}}"


def _services(services: Services) -> Iterator[str]:
    yield from _accept("meta l4proto", [(p, p) for p in services.whole])
    yield from _accept("tcp dport", services.tcp)
    yield from _accept("udp dport", services.udp)
    # Whoever may use anything at all here may also see whether it is alive.
    yield "\t\ticmp type echo-request goto admitted"
    yield "\t\ticmpv6 type echo-request goto admitted"
    yield "\t\tcounter drop"


def _accept(field: str, spans: Sequence[Span]) -> Iterator[str]:
    if len(spans) <= FEW:
        yield from (f"\t\t{field} {number_text(*span)} goto admitted" for span in spans)
        return
    yield f"\t\t{field} {{ {', '.join(number_text(*span) for span in spans)} }} goto admitted"
