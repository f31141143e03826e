"""Writes what sends answers back beside the mesh to who came beside the mesh. No I/O.

input    a flow that came through another device than the mesh's, and whose source the main
         table looks for behind that device, is marked as from elsewhere
output   this machine's answers in such a flow carry ANSWER_MARK; a routing policy rule sends
         them by the main table

Our routing table is asked before the main one. Without this, a peer that offers a network in
which somebody's public address lies would draw the answers to him into the mesh: who holds the
coordination server would lose every node that connects from there. A source that the main table
would look for elsewhere is left alone: two routers of one LAN hand each other what came
through the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatepost.model.netmap import MESH_V4, MESH_V6, IPNetwork
from gatepost.model.owned import ANSWER_MARK, ELSEWHERE, EPOCH_MASK, MARK, MARK_MASK

_UNSIGNED_32 = 0xFFFFFFFF
_OTHER_BITS = _UNSIGNED_32 ^ MARK_MASK  # of a packet's mark
_OTHER_CONNECTION_BITS = _UNSIGNED_32 ^ EPOCH_MASK


def from_elsewhere(carried: Iterable[IPNetwork]) -> Iterator[str]:
    """Write the rules of the input hook for what no rule before took.

    A flow that is looked up in vain is looked up again with its next packet; it stays unmarked.
    """
    if _takes_networks(carried):
        yield '\t\tiif "lo" accept'
        yield f"\t\tct direction original ct mark & 0x{EPOCH_MASK:08x} == 0 jump elsewhere"


def answer_chains(carried: Iterable[IPNetwork]) -> Iterator[str]:
    """Write the chains; none where only the mesh's own addresses lead into the mesh.

    The lookup is made with WireGuard's mark, which our table is not asked for.
    """
    if not _takes_networks(carried):
        return
    unmark = f"meta mark set meta mark & 0x{_OTHER_BITS:08x}"
    yield "\tchain elsewhere {"
    yield f"\t\t{unmark} | 0x{MARK:08x}"
    yield (
        "\t\tfib saddr . mark . iif oif != 0 "
        f"ct mark set ct mark & 0x{_OTHER_CONNECTION_BITS:08x} | 0x{ELSEWHERE:08x}"
    )
    yield f"\t\t{unmark}"
    yield "\t}"
    yield "\tchain answers {"
    yield "\t\ttype route hook output priority mangle; policy accept;"
    yield (
        f"\t\tct mark & 0x{EPOCH_MASK:08x} == 0x{ELSEWHERE:08x} ct direction reply "
        f"meta mark & 0x{MARK_MASK:08x} == 0 {unmark} | 0x{ANSWER_MARK:08x}"
    )
    yield "\t}"


def _takes_networks(carried: Iterable[IPNetwork]) -> bool:
    mesh: dict[int, IPNetwork] = {4: MESH_V4, 6: MESH_V6}
    return any(not _lies_in(n, mesh[n.version]) for n in carried)


def _lies_in(inner: IPNetwork, outer: IPNetwork) -> bool:
    return inner.prefixlen >= outer.prefixlen and inner.network_address in outer
