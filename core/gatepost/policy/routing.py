"""Through which machine each viewer reaches a subnet. Pure.

WireGuard can send a prefix to one peer only. Everybody uses the first carrier
in the order of precedence (see `gatepost.coordination.routes`), except those
whom the policy steers through certain machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatepost.policy.compiled import View
from gatepost.policy.directory import Machines
from gatepost.policy.intervals import Span

Precedence = Mapping[Span, Sequence[int]]  # the carriers of a subnet, best first


def routes_of(view: View, precedence: Precedence, visible: Machines) -> dict[int, tuple[Span, ...]]:
    """Return the subnets that a machine uses, by the machine that it reaches each through.

    A subnet that leads through none of the visible machines is left out.
    """
    found: dict[int, list[Span]] = {}
    for span, through in view.subnets:
        carriers = precedence.get(span, ())
        chosen = next((c for c in carriers if through is None or through >> c & 1), None)
        if chosen is not None and visible >> chosen & 1:
            found.setdefault(chosen, []).append(span)
    return {router: tuple(spans) for router, spans in found.items()}
