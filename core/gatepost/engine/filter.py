"""Writes the nftables text of the packet filter from wishes. No I/O.

What the text does, hook by hook (`mesh` is our WireGuard device):

    prerouting  a source may come only through its own device
    output      answers to who came beside the mesh leave beside the mesh
    input       from the mesh, and only from addresses of the mesh and of networks that
                peers carry: replies; to our own addresses and to our addresses in
                advertised networks what the rules admit; everything else is dropped
    forward     mesh to network: only destinations wished for, and only what the rules
                admit; network to mesh: only destinations wished for; mesh to mesh: never
    postrouting masquerade what the forward hook marked

Everything that neither comes from nor goes to the mesh is accepted *by this table*;
a firewall of the host in a table of its own still has its say, and can refuse what
is accepted here.

A flow that the rules admitted carries their epoch in its conntrack mark, and its next
packets are accepted by that one comparison. Who loads the text gives it a new epoch
(`define epoch`, one value of EPOCH_MASK that no flow carries): so after every change each
flow is judged once more, and what is not allowed any more stops with its next packet.
Only packets in a flow's original direction are judged; one reply must not renew a flow
that is refused.

Conntrack puts fragments together before the first of our hooks, and `meta l4proto`
walks IPv6 extension headers, so neither hides a port. Sets and maps hold all that
grows; the number of rules a packet meets does not depend on the size of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatepost.engine.admission import Span, admission, join, subtract
from gatepost.engine.filter_admission import admission_chains
from gatepost.engine.filter_aliases import alias_chains, from_alias, sent_to_sites
from gatepost.engine.filter_answers import answer_chains, from_elsewhere
from gatepost.engine.filter_clamp import clamp_chains
from gatepost.engine.filter_guests import (
    guest_chains,
    guest_forward,
    guest_input,
    guest_senders,
    guest_to_sites,
)
from gatepost.engine.filter_renumbered import (
    renumbered_chains,
    renumbered_sets,
    sent_by_renumbered,
    sent_to_renumbered,
)
from gatepost.engine.nft_text import (
    address_set,
    address_text,
    elements,
    number_text,
    source_text,
    spans_of,
)
from gatepost.model.behind import NEVER_BEHIND
from gatepost.model.guests import Guests
from gatepost.model.kernel import Listen, Sender
from gatepost.model.netmap import MESH_V4, MESH_V6, FilterRule, IPAddress, IPNetwork
from gatepost.model.owned import (
    ALIAS_NETWORK,
    DEVICE,
    EPOCH_MASK,
    MARK_MASK,
    MASQUERADE_MARK,
    NFT_TABLE,
    PROXY_PORT_OFFSET,
    WIREGUARD_PORT,
)
from gatepost.model.renumber import Renumber

TSMP = 99  # IP protocol of peer pings inside the tunnel (protocol document 2.6)
_UNSIGNED_32 = 0xFFFFFFFF
_MIDDLE = 0x8000  # of all ports
_NEIGHBOURS = PROXY_PORT_OFFSET + 1  # ports from WireGuard's on are ours
# Where no packet from the mesh is ever forwarded, whatever anybody wishes.
NEVER = tuple(NEVER_BEHIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterWishes:
    """Everything the filter is made of; order and repetition do not matter.

    `own` are this machine's addresses in the mesh, `carried` the prefixes that
    WireGuard accepts from peers; `port` is WireGuard's own. `translated` is where aliases
    of peers may go (4via6), and they nowhere else. `renumbered` are networks that the mesh
    knows by other addresses. `guests` are in the mesh through this machine.
    """

    device: str = DEVICE
    port: int = WIREGUARD_PORT
    own: Sequence[IPAddress] = ()
    carried: Sequence[IPNetwork] = ()
    admit: Sequence[FilterRule] = ()
    senders: Sequence[Sender] = ()
    forward: Sequence[IPNetwork] = ()
    forward_out: Sequence[IPNetwork] = ()
    masquerade: Sequence[IPNetwork] = ()
    masquerade_out: Sequence[IPNetwork] = ()
    translated: Sequence[IPNetwork] = ()
    renumbered: Sequence[Renumber] = ()
    guests: Sequence[Guests] = ()
    clamp: Sequence[IPNetwork] = ()
    listen: Sequence[Listen] = ()


def filter_text(wishes: FilterWishes) -> str:
    """Return the whole table in nft's language; equal wishes give equal text."""
    lines = [f"table inet {NFT_TABLE} {{"]
    senders = _senders(wishes)
    for version in (4, 6):
        lines += _sets(wishes, version)
        for number, (_, prefixes) in enumerate(senders):
            spans = spans_of(prefixes, version)
            if len(spans) > 1:
                lines += address_set(f"sender{number}_{version}", version, spans)
    for protocol in ("tcp", "udp"):
        lines += _ports(protocol, wishes.listen)
    lines += _admitted()
    for version in (4, 6):
        lines += admission_chains(admission(wishes.admit, version), version)
    lines += _prerouting(wishes.device, senders)
    if wishes.translated:
        reached = subtract(spans_of(wishes.translated, 4), spans_of(NEVER, 4))
        lines += alias_chains(reached, _MARK_FOR_MASQUERADE)
    lines += renumbered_sets(wishes.renumbered, spans_of(NEVER, 4))
    lines += guest_chains(wishes.guests, known=_KNOWN)
    lines += _input(wishes)
    lines += _forward(wishes)
    lines += renumbered_chains(
        wishes.renumbered,
        device=wishes.device,
        known=_KNOWN,
        judged=_JUDGED,
        mark=_MARK_FOR_MASQUERADE,
    )
    if _sources_change(wishes):
        lines += _masquerade(wishes)
    if wishes.clamp:
        lines += clamp_chains(wishes.device)
    return "\n".join([*lines, "}", ""])


def _sources_change(wishes: FilterWishes) -> bool:
    nouns = (wishes.masquerade, wishes.masquerade_out, wishes.translated, wishes.renumbered)
    return any(nouns) or bool(wishes.forward_out)


# --- sets ------------------------------------------------------------------------


def _senders(wishes: FilterWishes) -> list[tuple[str, list[IPNetwork]]]:
    """Gather prefixes by the device they belong to; the mesh always belongs to ours."""
    devices: dict[str, list[IPNetwork]] = {wishes.device: [MESH_V4, MESH_V6]}
    if wishes.translated:
        devices[wishes.device].append(ALIAS_NETWORK)
    for sender in (*wishes.senders, *guest_senders(wishes.guests)):
        devices.setdefault(sender.device, []).append(sender.prefix)
    return sorted(devices.items())


def _sets(wishes: FilterWishes, version: int) -> Iterator[str]:
    own = join((int(a), int(a)) for a in wishes.own if a.version == version)
    never = spans_of(NEVER, version)
    aliases = (ALIAS_NETWORK,) if wishes.translated else ()
    carried = spans_of((*wishes.carried, MESH_V4, MESH_V6, *aliases), version)
    yield from address_set(f"own{version}", version, own)
    yield from address_set(f"carried{version}", version, subtract(carried, own))
    for name, networks in (("forward", wishes.forward), ("masquerade", wishes.masquerade)):
        yield from address_set(
            f"{name}{version}", version, subtract(spans_of(networks, version), never)
        )
    remote = [n for n in wishes.carried if n.prefixlen > 0] if wishes.masquerade_out else []
    for name, networks in (
        ("forward_out", wishes.forward_out),
        ("clamp", wishes.clamp),
        ("masquerade_out", wishes.masquerade_out),
        ("remote", (*remote, MESH_V4, MESH_V6) if wishes.masquerade_out else ()),
    ):
        yield from address_set(f"{name}{version}", version, spans_of(networks, version))


def _ports(protocol: str, listen: Iterable[Listen]) -> Iterator[str]:
    ports = {p.port for p in listen if p.zone == "mesh" and p.protocol == protocol}
    yield f"\tset listen_{protocol} {{"
    yield "\t\ttype inet_service; flags interval;"
    yield from elements(number_text(*span) for span in join((p, p) for p in ports))
    yield "\t}"


# --- chains ------------------------------------------------------------------------

# What was judged under these rules: first, as nearly every packet is of such a flow.
_JUDGED = f"ct mark & 0x{EPOCH_MASK:08x} == $epoch"
_KNOWN = f"\t\tct state established {_JUDGED} accept"
_REMEMBER = f"ct mark set ct mark & 0x{_UNSIGNED_32 ^ EPOCH_MASK:08x} | $epoch"
_MARK_FOR_MASQUERADE = (
    f"meta mark set meta mark & 0x{_UNSIGNED_32 ^ MARK_MASK:08x} | 0x{MASQUERADE_MARK:08x}"
)


def _admitted() -> Iterator[str]:
    yield "\tchain admitted {"
    yield f"\t\t{_REMEMBER} accept"
    yield "\t}"


def _prerouting(device: str, senders: Sequence[tuple[str, Sequence[IPNetwork]]]) -> Iterator[str]:
    yield "\tchain senders {"
    yield "\t\ttype filter hook prerouting priority raw; policy accept;"
    only = len(senders) == 1
    if only:
        yield f'\t\tiifname "{device}" accept'
    yield '\t\tiif "lo" accept'
    for number, (name, prefixes) in enumerate(senders):
        others = "" if only else f'iifname != "{name}" '
        for version, address in ((4, "ip"), (6, "ip6")):
            spans = spans_of(prefixes, version)
            for source in _sources(spans, version, f"sender{number}_{version}"):
                yield f"\t\t{others}{address} saddr {source} counter drop"
    yield "\t}"


def _sources(spans: Sequence[Span], version: int, name: str) -> Iterator[str]:
    """Name what a source is compared with; one prefix is cheaper to compare than to look up."""
    if len(spans) == 1:
        yield address_text(*spans[0], version)
    elif spans:
        yield f"@{name}"


def _input(wishes: FilterWishes) -> Iterator[str]:
    yield """\
	chain unwanted {
		icmp type { redirect, router-advertisement, router-solicitation } counter drop
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit } counter drop
		icmpv6 type { nd-neighbor-advert, nd-redirect } counter drop
	}
	chain carried {
		ip saddr @carried4 return
		ip6 saddr @carried6 return
		counter drop
	}
	chain from_mesh {"""
    yield _KNOWN
    yield f"\t\tct state established ct direction reply {_REMEMBER} accept"
    yield """\
		meta l4proto { 1, 58 } jump unwanted
		jump carried
		ct state related accept
		ct state invalid counter drop"""
    yield from from_alias(wishes.translated, "own")
    yield from sent_to_renumbered(wishes.renumbered, "own")
    yield """\
		ip daddr @own4 goto to_own
		ip6 daddr @own6 goto to_own
		fib daddr type != local counter drop
		ip daddr @forward4 goto admit4
		ip6 daddr @forward6 goto admit6
		counter drop
	}
	chain to_own {"""
    yield f"\t\tmeta l4proto {TSMP} goto admitted"
    yield """\
		tcp dport @listen_tcp goto admitted
		udp dport @listen_udp goto admitted
		meta nfproto ipv4 goto admit4
		goto admit6
	}
	chain input {
		type filter hook input priority filter; policy accept;"""
    yield f'\t\tiifname "{wishes.device}" goto from_mesh'
    yield from guest_input(wishes.guests)
    yield from from_elsewhere(wishes.carried)
    yield "\t}"
    yield from answer_chains(wishes.carried)


def _forward(wishes: FilterWishes) -> Iterator[str]:
    """Write both directions."""
    device = wishes.device
    yield "\tchain mesh_to_network {"
    yield f'\t\toifname "{device}" counter drop'
    yield _KNOWN
    yield """\
		ct state established ct direction reply accept
		meta l4proto { 1, 58 } jump unwanted
		jump carried
		ct state related accept
		ct state invalid counter drop"""
    yield from from_alias(wishes.translated, "network")
    yield from sent_to_renumbered(wishes.renumbered, "network")
    yield """\
		ip daddr @forward4 goto mesh_to_network4
		ip6 daddr @forward6 goto mesh_to_network6
		counter drop
	}"""
    for version, address in ((4, "ip"), (6, "ip6")):
        yield f"\tchain mesh_to_network{version} {{"
        if version == 4:  # noqa: PLR2004  # IPv6 has no broadcast
            yield "\t\tfib daddr type != unicast counter drop"
        yield f"\t\t{address} daddr @masquerade{version} {_MARK_FOR_MASQUERADE}"
        yield f"\t\tgoto admit{version}"
        yield "\t}"
    yield "\tchain network_to_mesh {"
    yield _KNOWN
    yield """\
		ct state established ct direction reply accept
		ct state related accept
		ct state invalid counter drop"""
    yield from guest_to_sites(wishes.guests)
    yield """\
		ip daddr @forward_out4 goto admitted
		ip6 daddr @forward_out6 goto admitted
		counter drop
	}
	chain forward {
		type filter hook forward priority filter; policy accept;"""
    yield f'\t\tiifname "{device}" goto mesh_to_network'
    yield f'\t\toifname "{device}" goto network_to_mesh'
    yield from guest_forward(wishes.guests)
    yield "\t}"


def _masquerade(wishes: FilterWishes) -> Iterator[str]:
    """Write the chain that sees the first packet of each flow; the forward hook has marked it.

    No flow gets WireGuard's port or its neighbours': the answers would be taken for WireGuard's.
    Into the mesh only what no peer has announced a network for goes under our address.
    """
    port = wishes.port
    ports = f"1024-{port - 1}" if port > _MIDDLE else f"{port + _NEIGHBOURS}-65535"
    yield "\tchain postrouting {"
    yield "\t\ttype nat hook postrouting priority srcnat; policy accept;"
    if wishes.forward_out:
        yield from sent_to_sites(wishes.device, source_text(wishes.own, 6))
    yield from sent_by_renumbered(wishes.renumbered, wishes.device)
    if wishes.masquerade_out:
        for version, address in ((4, "ip"), (6, "ip6")):
            yield (
                f'\t\toifname "{wishes.device}" {address} saddr @masquerade_out{version} '
                f"{address} daddr != @remote{version} {source_text(wishes.own, version)}"
            )
    yield f"\t\tmeta mark & 0x{MARK_MASK:08x} != 0x{MASQUERADE_MARK:08x} accept"
    yield f"\t\tmeta l4proto udp masquerade to :{ports}"
    yield "\t\tmasquerade"
    yield "\t}"


__all__ = ["FilterWishes", "filter_text"]
