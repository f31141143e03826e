"""Put what netcheck found into the document that people and programs read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gatepost.model.netmap import DerpRegion, IPAddress
from gatepost.model.status import NetcheckDocument, RegionDocument
from gatepost.sessions.netcheck import Report

_IPV6 = Path("/proc/net/if_inet6")  # not there when the kernel has no IPv6


def make_netcheck(
    report: Report,
    regions: Collection[DerpRegion],
    *,
    home: int,
    portal: bool | None,
    own: Collection[IPAddress],
) -> NetcheckDocument:
    """Return the document; `own` are this machine's addresses.

    Whoever has a public address of its own reaches it without any router, so
    nothing is said about its hairpin then.
    """
    is_public = any(e.address in own for e in report.seen_v4)
    return NetcheckDocument(
        udp=report.udp,
        ipv4=str(report.seen_v4[0]) if report.seen_v4 else "",
        ipv6=str(report.seen_v6[0]) if report.seen_v6 else "",
        ipv6_here=_IPV6.exists(),
        mapping_varies=report.varies,
        hairpin=None if is_public else report.hairpin,
        captive_portal=portal,
        preferred_derp=home,
        regions=tuple(
            RegionDocument(
                id=r.id,
                code=r.code,
                name=r.name,
                latency=report.distances.get(r.id),
                latency_v4=report.latencies_v4.get(r.id),
                latency_v6=report.latencies_v6.get(r.id),
                latency_https=report.https.get(r.id),
            )
            for r in regions
        ),
    )
