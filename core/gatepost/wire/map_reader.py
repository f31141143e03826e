"""Reads a MapResponse as the node does: one bad entry must not cost the whole map.

An official client refuses the message and asks again, for ever. Here the entry
is left out and named in `problems`. Only entries of lists can be left out; a
wrong value elsewhere refuses the message. A filter rule that is left out lets
less in, never more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gatepost.errors import Malformed
from gatepost.wire.derp_map import DerpRegion
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.netmap import FilterRule, MapNode, MapResponse, PeerChange, UserProfile

_Raw = msgspec.Raw

_LISTS: dict[str, type[Any]] = {  # the field and what its list holds; all are structs
    "Peers": MapNode,
    "PeersChanged": MapNode,
    "PeersChangedPatch": PeerChange,
    "UserProfiles": UserProfile,
    "PacketFilter": FilterRule,
}
_SHOWN = 160  # characters of a problem


def read_map(raw: bytes) -> MapResponse:
    """Read one message; raise `Malformed` if more than list entries are wrong."""
    try:
        return read_json(raw, MapResponse)
    except Malformed:
        return _read_what_is_right(raw)


def _read_what_is_right(raw: bytes) -> MapResponse:
    fields = read_json(raw, dict[str, _Raw])
    problems: list[str] = []
    for name, kind in _LISTS.items():
        if name in fields:
            fields[name] = _right_entries(fields[name], kind, name, problems)
    if "PacketFilters" in fields:
        fields["PacketFilters"] = _right_filters(fields["PacketFilters"], problems)
    if "DERPMap" in fields:
        fields["DERPMap"] = _right_regions(fields["DERPMap"], problems)
    response = read_json(write_json(fields), MapResponse)
    return msgspec.structs.replace(response, problems=tuple(problems))


def _right_entries(raw: _Raw, kind: type[Any], where: str, problems: list[str]) -> _Raw:
    """Return the list without its wrong entries."""
    if bytes(raw) == b"null":
        return raw
    entries = read_json(bytes(raw), list[_Raw])
    right: list[_Raw] = []
    for index, entry in enumerate(entries):
        try:
            read_json(bytes(entry), kind)
        except Malformed as error:
            problems.append(f"{where}[{index}] left out: {error}"[:_SHOWN])
        else:
            right.append(entry)
    return _Raw(write_json(right))


def _right_filters(raw: _Raw, problems: list[str]) -> _Raw:
    filters = read_json(bytes(raw), dict[str, _Raw])
    for name, rules in filters.items():
        filters[name] = _right_entries(rules, FilterRule, f"PacketFilters[{name!r}]", problems)
    return _Raw(write_json(filters))


def _right_regions(raw: _Raw, problems: list[str]) -> _Raw:
    derp = read_json(bytes(raw), dict[str, _Raw])
    if "Regions" not in derp:
        return raw
    regions = read_json(bytes(derp["Regions"]), dict[str, _Raw])
    for name, region in tuple(regions.items()):
        try:
            read_json(bytes(region), DerpRegion)
        except Malformed as error:
            problems.append(f"DERPMap.Regions[{name}] left out: {error}"[:_SHOWN])
            del regions[name]
    derp["Regions"] = _Raw(write_json(regions))
    return _Raw(write_json(derp))
