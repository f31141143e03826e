"""What this machine needs to carry packets for others."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.model.kernel import Sysctl
from gatepost.model.process import WatchFact

ACCEPT_RA = WatchFact("accept-ra")  # names of the links that listen to router advertisements


def forwarding(versions: set[int], accepting: str) -> Iterator[Sysctl]:
    """Yield the switches for these versions of IP; `accepting` is the answer to `ACCEPT_RA`."""
    if 4 in versions:  # noqa: PLR2004  # the version of IP
        yield Sysctl("net.ipv4.conf.all.forwarding", "1")
    if 6 in versions:  # noqa: PLR2004
        yield Sysctl("net.ipv6.conf.all.forwarding", "1")
        # A router ignores router advertisements, and with them this machine's own way out,
        # unless it is told to go on listening (Linux: ip-sysctl, accept_ra).
        for link in accepting.split():
            yield Sysctl(f"net.ipv6.conf.{link.replace('.', '/')}.accept_ra", "2")
