"""By which IP version the boxes of a lab reach each other."""

from __future__ import annotations

from typing import Literal

from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab

_SETTLED = 10.0  # seconds until the boxes have chosen their path


def outer_version(lab: Lab) -> Literal[4, 6]:
    """Return the IP version of the paths, when both ends have chosen the same."""

    def look() -> Literal[4, 6] | None:
        peers = [p for box in lab.boxes.values() for p in box.client.status().peers]
        kinds = {p.endpoint.startswith("[") if p.path == "direct" else None for p in peers}
        if len(kinds) > 1 or None in kinds:
            return None
        return 6 if kinds == {True} else 4

    return wait_for(look, seconds=_SETTLED, otherwise=lambda: "the boxes do not agree on a path")
