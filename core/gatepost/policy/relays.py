"""The relays that a policy brings along (`derpMap`), beside those of the server.

A region of the policy takes the place of the server's with the same number;
null takes it away; `OmitDefaultRegions` takes all of the server's away.
Source: protocol document 3.4 and 6.4.
"""

from __future__ import annotations

from gatepost.errors import Malformed
from gatepost.policy.document import Policy
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import Place
from gatepost.wire.derp_map import DerpMap
from gatepost.wire.go_json import read_json

_OMIT = "OmitDefaultRegions"  # as policies write it; on the wire it begins with a small letter


def check_relays(policy: Policy) -> None:
    """Raise `PolicyRefusedError` if clients could not use what the policy says of relays."""
    if policy.derp_map is None:
        return
    try:
        regions = _read(policy.derp_map).regions or {}
    except Malformed as error:
        raise refuse(f"derpMap: {error}", Place(), "see the form of a DERP map") from error
    for number, region in regions.items():
        if not number.isdigit() or (region is not None and region.region_id != int(number)):
            raise refuse(
                f"derpMap: region {number!r} must be keyed by its RegionID",
                Place(),
                "use its number",
            )


def relays(policy: Policy, own: DerpMap) -> DerpMap:
    """Return the map that nodes are sent; `own` is the server's."""
    if policy.derp_map is None:
        return own
    wished = _read(policy.derp_map)
    kept = {} if wished.omit_default_regions else dict(own.regions or {})
    kept.update(wished.regions or {})
    return DerpMap(
        home_params=wished.home_params or own.home_params,
        regions={number: region for number, region in kept.items() if region is not None},
        omit_default_regions=True,
    )


def _read(text: str) -> DerpMap:
    return read_json(text.replace(f'"{_OMIT}"', '"omitDefaultRegions"').encode(), DerpMap)
