"""Writes the nftables text that lets an exit's packets out through a provider only. No I/O.

    input    from the provider: answers, nothing else; this machine is no server there
    forward  from the provider: answers; to the provider: what comes from the mesh;
             from the mesh: to the provider, where it was spared, and to networks of this
             site by their outer addresses; by the inner ones only if they are spared
             from guests: into the mesh, and where it was spared; no provider carries them

Routes alone would do while all goes well. This holds also while routes change, when the
provider's device is gone, and while there is no daemon. It stands beside the packet filter,
which still decides who may use the exit at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.engine.nft_text import address_set, spans_of
from gatepost.model.owned import NFT_PROVIDER_TABLE
from gatepost.model.renumber import Renumber
from gatepost.model.tunnel import OnlyThroughTunnel


def kill_switch_text(
    wish: OnlyThroughTunnel, guests: Iterable[str] = (), renumbered: Iterable[Renumber] = ()
) -> str:
    """Return the whole table in nft's language; equal wishes give equal text.

    `guests` are the devices behind which guests are.
    """
    lines = [f"table inet {NFT_PROVIDER_TABLE} {{"]
    for version in (4, 6):
        lines += address_set(f"spared{version}", version, spans_of(wish.spared, version))
    outer = spans_of((pair.outside for pair in renumbered), 4)
    if outer:
        lines += address_set("renumbered4", 4, outer)
    lines += [
        "\tchain here {",
        "\t\ttype filter hook input priority filter; policy accept;",
        f'\t\tiifname "{wish.tunnel}" ct state established,related accept',
        f'\t\tiifname "{wish.tunnel}" counter drop',
        "\t}",
        "\tchain through {",
        "\t\ttype filter hook forward priority filter; policy accept;",
        f'\t\tiifname "{wish.tunnel}" ct state established,related accept',
        f'\t\tiifname "{wish.tunnel}" counter drop',
        f'\t\tiifname "{wish.mesh}" oifname "{wish.tunnel}" accept',
        f'\t\toifname "{wish.tunnel}" counter drop',
    ]
    if outer:
        # What was sent there, and answers to what came from there.
        for direction in ("original", "reply"):
            was_outer = f"ct {direction} ip daddr @renumbered4"
            lines.append(f'\t\tiifname "{wish.mesh}" {was_outer} accept')
    lines += _spared_only(wish.mesh)
    for guest in sorted(guests):
        lines += [f'\t\tiifname "{guest}" oifname "{wish.mesh}" accept', *_spared_only(guest)]
    return "\n".join([*lines, "\t}", "}", ""])


def _spared_only(device: str) -> tuple[str, str]:
    return (
        f'\t\tiifname "{device}" ip daddr != @spared4 counter drop',
        f'\t\tiifname "{device}" ip6 daddr != @spared6 counter drop',
    )
