"""Debian's miniupnpd on a router of the lab: NAT-PMP, PCP and UPnP as home routers have them.

It refuses external addresses that are private or for documentation, as all of
the lab's are. So the router gets one more, 45.0.0.<site number>, which the
internet knows. That is the address of the mappings; what leaves the site keeps
the address it had, so only a mapping is reached at this one.

For IPv6 it opens ports of the router's firewall, whose chain asks the daemon's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from gatepost.testing.netns import LabError, Machine, patient
from gatepost.testing.topology import Site, Topology

PROGRAM = "miniupnpd"
START_TIMEOUT = 10.0  # seconds
Speaks = Literal["nat-pmp", "pcp", "upnp"]
EVERYTHING: tuple[Speaks, ...] = ("nat-pmp", "pcp", "upnp")

_CONFIGURATION = """\
ext_ifname=wan0
ext_ip={public}
listening_ip=inside0
port={http}
enable_natpmp={natpmp}
enable_upnp={upnp}
secure_mode=yes
upnp_table_name=router
upnp_nat_table_name=miniupnpd
upnp_forward_chain=opened
upnp_nat_chain=prerouting
upnp_nat_postrouting_chain=postrouting
uuid=00000000-0000-0000-0000-{number:012}
allow 1024-65535 0.0.0.0/0 1024-65535
"""
_CHAINS = """\
table inet miniupnpd {
	chain prerouting {
		type nat hook prerouting priority dstnat;
	}

	chain postrouting {
		type nat hook postrouting priority srcnat;
	}
}
"""
_OPENED = """\
table inet router {
	chain opened { }
}
insert rule inet router through jump opened
"""
# One daemon speaks both on one port; a packet's first byte is the version of its protocol.
_ONE_ONLY = """\
table inet one_protocol {{
	chain asked {{
		type filter hook input priority 0;
		udp dport 5351 @th,64,8 {version} drop
	}}
	chain told {{
		type filter hook output priority 0;
		udp sport 5351 @th,64,8 {version} drop
	}}
}}
"""


# By IPv6 it speaks PCP even where it is told to speak UPnP only.
_UPNP_ONLY = """\
table inet one_protocol {
	chain asked {
		type filter hook input priority 0;
		udp dport 5351 drop
	}
}
"""


@dataclass(slots=True)
class Miniupnpd:
    """The daemon on the router of one site; it may be ended and started again."""

    router: Machine
    public: IPv4Address
    configuration: str
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.router.run("tee", "/run/miniupnpd.conf", stdin=self.configuration)
        self._process = self.router.start(
            f"/usr/sbin/{PROGRAM}", "-d", "-f", "/run/miniupnpd.conf", "-P", "/run/miniupnpd.pid"
        )
        end = time.monotonic() + patient(START_TIMEOUT)
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise LabError(f"{self.router.name}: {PROGRAM} does not start")
            time.sleep(0.05)

    def end(self, signal: Literal["TERM", "KILL"] = "TERM") -> None:
        """End it; with KILL it cannot take its mappings back."""
        for number in self.router.processes(PROGRAM):
            self.router.run("kill", f"-{signal}", str(number))
        if self._process:
            self._process.wait(timeout=patient(START_TIMEOUT))
            self._process = None

    def forget(self) -> None:
        """Lose all mappings, as a router without a memory does when it restarts."""
        self.router.nft(f"flush table inet miniupnpd\nflush chain inet router opened\n{_CHAINS}")

    def mapped(self) -> str:
        """Return the rules of the mappings in force."""
        return self.router.run("nft", "list", "chain", "inet", "miniupnpd", "prerouting")

    def opened(self) -> str:
        """Return the rules of what is let through the firewall."""
        return self.router.run("nft", "list", "chain", "inet", "router", "opened")

    def _listens(self) -> bool:
        ports = "sport = :5351 or sport = :1900"
        return bool(self.router.attempt("ss", "-Hlnu", ports).stdout.strip())


def install_miniupnpd(
    topology: Topology, site: Site, speaks: Collection[Speaks] = EVERYTHING
) -> Miniupnpd:
    """Give a site's router the daemon and a public address, and start it."""
    router = site.router
    if router is None:
        raise LabError(f"{site.name} has no router that could map ports")
    public = IPv4Address("45.0.0.0") + site.number
    router.ip(f"address add {public}/32 dev wan0")
    topology.internet.ip(f"route add {public}/32 via {site.public_v4}")
    router.nft(_CHAINS + _OPENED)
    if len({"nat-pmp", "pcp"} & set(speaks)) == 1:
        router.nft(_ONE_ONLY.format(version=2 if "nat-pmp" in speaks else 0))
    if set(speaks) == {"upnp"}:
        router.nft(_UPNP_ONLY)
    daemon = Miniupnpd(router, public, _configuration(site, public, speaks))
    daemon.start()
    return daemon


def _configuration(site: Site, public: IPv4Address, speaks: Collection[Speaks]) -> str:
    return _CONFIGURATION.format(
        public=public,
        http=5555,
        natpmp="yes" if {"nat-pmp", "pcp"} & set(speaks) else "no",
        upnp="yes" if "upnp" in speaks else "no",
        number=site.number,
    )
