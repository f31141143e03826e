"""What the map stream has told so far: deltas go in, an immutable NetMap comes out.

What cannot be read is left out and named in `problems`; what was known before
stays. Source: protocol document 1.10, 1.11.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType

import msgspec

from gatepost.errors import Malformed
from gatepost.model.netmap import DerpRegion, DnsSettings, FilterRule, Grant, NetMap, Node
from gatepost.sessions.netmap_dns import parse_dns
from gatepost.sessions.netmap_filter import (
    Ranges,
    names_capabilities,
    parse_filters,
    parse_grants,
)
from gatepost.sessions.netmap_nodes import parse_node, parse_region
from gatepost.sessions.netmap_peers import PeerTable, Problems
from gatepost.wire.derp_map import DerpMap, HomeParams
from gatepost.wire.derp_map import DerpRegion as WireRegion
from gatepost.wire.go_json import write_json
from gatepost.wire.map_reader import read_map
from gatepost.wire.netmap import DnsConfig, MapNode, MapResponse, UserProfile
from gatepost.wire.netmap import FilterRule as WireRule

_BASE = "base"  # the part of the filter that the older single list stands for
_EVERY = "*"


class MapState:
    """One node's view of the mesh. `apply` what arrives, then ask for `netmap`."""

    def __init__(self) -> None:
        self._problems = Problems()
        self._me = _Self(self._problems)
        self._peers = PeerTable(self._problems)
        self._filter = _Filter(self._problems)
        self._relays = _Relays(self._problems)
        self._profiles: dict[int, UserProfile] = {}
        self._domain = ""
        self._dns: DnsConfig | None = None
        self._names = DnsSettings()
        self._netmap: NetMap | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the map could not be used, in words, as long as that is so."""
        return tuple(self._problems)

    def apply(self, response: MapResponse, now: datetime | None = None) -> None:
        """Take one message. Never raises for its content.

        `now` becomes the "last seen" of peers that the server has seen just
        now; without it they keep theirs.
        """
        if response.keep_alive:
            return
        if response.node is not None or response.peers:
            self._problems.settle("message")
        for index, text in enumerate(response.problems):
            self._problems.report(f"message {index}", text)
        self._me.apply(response.node)
        self._peers.own_id = self._me.read.id if self._me.read else 0
        if self._peers.apply(response, now):
            self._filter.on_peers()
        self._filter.apply(response)
        self._relays.apply(response.derp_map)
        for profile in response.user_profiles or ():
            self._profiles[profile.id] = profile
        self._domain = response.domain or self._domain
        if response.dns_config is not None:
            self._dns = response.dns_config
            self._problems.settle("DNS")
            self._names = parse_dns(self._dns, self._problems.report)
        self._netmap = None

    def netmap(self) -> NetMap | None:
        """Return the mesh as it is known; None before this node itself is known.

        The same object comes back until the next change.
        """
        if self._netmap is None and self._me.read is not None:
            users = {number: profile.login_name for number, profile in self._profiles.items()}
            self._netmap = NetMap(
                me=self._me.read,
                peers=self._peers.peers,
                domain=self._domain,
                filter=self._filter.rules(self._peers),
                grants=self._filter.grants,
                derp=self._relays.regions,
                users=MappingProxyType(users),
                dns=self._names,
            )
        return self._netmap

    def dump(self) -> bytes:
        """Return all that is known as JSON, for `load` after a restart."""
        return write_json(
            MapResponse(
                node=self._me.wire,
                derp_map=self._relays.wire,
                peers=self._peers.written(),
                packet_filters=self._filter.written(),
                user_profiles=tuple(self._profiles.values()),
                domain=self._domain,
                dns_config=self._dns,
            )
        )

    def load(self, raw: bytes) -> None:
        """Start from what `dump` returned; raise `Malformed` for anything else.

        Only for a state to which nothing has been applied.
        """
        self.apply(read_map(raw))


class _Self:
    """The entry of the node whose map it is."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.wire: MapNode | None = None
        self.read: Node | None = None

    def apply(self, node: MapNode | None) -> None:
        if node is None:
            return
        try:
            self.read = parse_node(node)
        except Malformed as error:
            self._problems.report("this node", f"left as it was: {error}")
        else:
            self.wire = node
            self._problems.settle("this node")


class _Relays:
    """The relay regions; a new map replaces all of them."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.wire: DerpMap | None = None
        self.regions: tuple[DerpRegion, ...] = ()

    def apply(self, derp_map: DerpMap | None) -> None:
        """Take a new map; without regions it may still bring other scores for those we have."""
        if derp_map is None or (derp_map.regions is None and derp_map.home_params is None):
            return
        old = self.wire or DerpMap()
        self.wire = msgspec.structs.replace(
            derp_map,
            regions=old.regions if derp_map.regions is None else derp_map.regions,
            home_params=derp_map.home_params or old.home_params,
        )
        self._problems.settle("relay region")
        scores = (self.wire.home_params or HomeParams()).region_score or {}
        regions = (
            self._read(key, wire, scores.get(key, 1.0))
            for key, wire in (self.wire.regions or {}).items()
            if wire is not None
        )
        self.regions = tuple(
            sorted((region for region in regions if region), key=lambda region: region.id)
        )

    def _read(self, key: str, wire: WireRegion, score: float) -> DerpRegion | None:
        try:
            return parse_region(key, wire, score)
        except Malformed as error:
            self._problems.report(f"relay region {key}", str(error))
            return None


class _Filter:
    """The packet filter in named parts; it may depend on the peers."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._parts: dict[str, tuple[WireRule, ...]] | None = None
        self._rules: tuple[FilterRule, ...] | None = None
        self.grants: tuple[Grant, ...] = ()  # as of the last `rules`
        self._depends_on_peers = False
        self._had_jailed = False
        self._ranges = Ranges()

    def apply(self, response: MapResponse) -> None:
        if response.packet_filter is None and not response.packet_filters:
            return
        parts = dict(self._parts or {})
        if response.packet_filter is not None:
            parts[_BASE] = response.packet_filter
        changes = dict(response.packet_filters or {})
        if _EVERY in changes and changes.pop(_EVERY) is None:
            parts.clear()
        for name, rules in changes.items():
            parts.pop(name, None)
            if rules is not None:
                parts[name] = rules
        self._parts = parts
        self._depends_on_peers = names_capabilities(parts)
        self._rules = None

    def on_peers(self) -> None:
        """Note that the peers are not the same any more."""
        if self._depends_on_peers:
            self._rules = None

    def rules(self, table: PeerTable) -> tuple[FilterRule, ...] | None:
        """Return what may come in; None if the server never said."""
        if self._parts is None:
            return None
        jailed = table.jailed
        if self._rules is None or jailed or self._had_jailed:
            self._problems.settle("filter rule")
            self._ranges.begin()
            given = self._parts, table.peers, jailed, self._report, self._ranges
            self._rules, self.grants = parse_filters(*given), parse_grants(*given)
        self._had_jailed = bool(jailed)
        return self._rules

    def written(self) -> dict[str, tuple[WireRule, ...] | None] | None:
        # No part at all is still a filter that lets nothing in; an empty map would be no news.
        if self._parts is None:
            return None
        return dict(self._parts) or {_BASE: ()}

    def _report(self, where: str, text: str) -> None:
        self._problems.report(f"filter rule {where}", text)
