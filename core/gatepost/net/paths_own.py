"""The addresses at which this node may be reached, and the DERP region it calls home."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import replace

from gatepost.model.netmap import MESH_V4, MESH_V6, DerpRegion, Endpoint, IPAddress
from gatepost.net.path_ports import OwnEndpoint, OwnKind
from gatepost.sessions.home import History, choose_home
from gatepost.sessions.netcheck import NO_LATENCIES, Report

KEPT = 310.0  # seconds for which an address that a STUN server saw stays told


class OwnAddresses:
    """What to tell others. `addresses` is asked each time, so it is never stale."""

    def __init__(self, addresses: Callable[[], Iterable[IPAddress]], port: int) -> None:
        self._addresses = addresses
        self._port = port
        self._local: tuple[Endpoint, ...] = ()
        self._seen: dict[Endpoint, float] = {}
        self._mapped: tuple[Endpoint, ...] = ()
        self._static: tuple[Endpoint, ...] = ()
        self.home = 0  # DERP region, 0 is none
        self.report: Report | None = None
        self.history = History()

    def refresh_local(self) -> bool:
        """Read this machine's addresses; return whether one of them has gone."""
        before = set(self._local)
        found = sorted({a for a in self._addresses() if _is_useful(a)}, key=_order)
        self._local = tuple(Endpoint(a, self._port) for a in found)
        return bool(before - set(self._local))

    def local_addresses(self) -> frozenset[IPAddress]:
        """Return this machine's own addresses, as last read."""
        return frozenset(e.address for e in self._local)

    def take(self, report: Report, regions: tuple[DerpRegion, ...], now: float) -> None:
        """Take what a check found."""
        if report.varies is None and report.udp and self.report:  # it asked too few servers
            report = replace(report, varies=self.report.varies)
        self.report = report
        self.history.add(report.distances, now)
        self._seen = {e: at for e, at in self._seen.items() if now - at < KEPT}
        self._seen.update(dict.fromkeys(report.seen, now))
        self.choose(regions)

    def choose(self, regions: tuple[DerpRegion, ...]) -> None:
        """Choose the home among `regions` by the last report."""
        usable = [r for r in regions if r.may_be_home and any(not n.stun_only for n in r.nodes)]
        known = [r.id for r in usable]
        measured = self.report.distances if self.report else NO_LATENCIES
        latencies = {r.id: measured[r.id] * r.score for r in usable if r.id in measured}
        best = self.history.best()
        recent = {r.id: best[r.id] * r.score for r in usable if r.id in best}
        self.home = choose_home(self.home, known, latencies, recent)

    def set_mapped(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take the addresses that a router forwards to us (port mapping); none when it ended."""
        self._mapped = endpoints

    def set_static(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take the addresses that the operator set."""
        self._static = endpoints

    def forget_seen(self) -> None:
        """Forget what STUN servers saw and how far they were: the network has changed."""
        self._seen.clear()
        self.history.forget()

    @property
    def found(self) -> tuple[bool, bool, bool | None] | None:
        """What peers are told of the network: UDP, IPv6, whether a NAT varies the ports."""
        report = self.report
        return (report.udp, bool(report.seen_v6), report.varies) if report else None

    def endpoints(self) -> tuple[OwnEndpoint, ...]:
        """Return the surest first: static, local, mapped, from STUN, guessed; none twice."""
        found: dict[Endpoint, OwnKind] = {}
        kinds: tuple[tuple[OwnKind, Iterable[Endpoint]], ...] = (
            ("static", self._static),
            ("local", self._local),
            ("mapped", self._mapped),
            ("stun", self._seen),
            ("guess", self._guessed()),
        )
        for kind, endpoints in kinds:
            for endpoint in endpoints:
                found.setdefault(endpoint, kind)
        return tuple(OwnEndpoint(e, kind) for e, kind in found.items())

    def _guessed(self) -> Iterable[Endpoint]:
        """Yield our own port at the outside address of a router that varies the ports.

        It may have been told by hand to forward that port. Source: protocol document 2.4.
        """
        if self.report and self.report.varies:
            for seen in self._seen:
                if seen.address.version == 4:  # noqa: PLR2004  # only IPv4 is translated
                    yield Endpoint(seen.address, self._port)


def _is_useful(address: IPAddress) -> bool:
    """Say whether another node could use the address: neither this machine's alone nor the mesh."""
    if address.is_loopback or address.is_link_local or address.is_multicast:
        return False
    mesh = MESH_V4 if isinstance(address, ipaddress.IPv4Address) else MESH_V6
    return not address.is_unspecified and address not in mesh


def _order(address: IPAddress) -> tuple[int, bytes]:
    return address.version, address.packed
