"""What this node tells the coordination server about itself."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from gatepost import __version__
from gatepost.model.netmap import IPNetwork, NetworkFacts
from gatepost.model.peer_api import APP_CONNECTOR, NAMES, SERVICE
from gatepost.net.path_ports import OwnEndpoint
from gatepost.wire.hostinfo import Hostinfo, NetInfo, Service

PEER_RELAY = "peer-relay"  # the announcement of a node that relays for others
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What does not change while the daemon runs."""

    hostname: str
    kernel: str
    machine: str
    distribution: str = ""
    distribution_version: str = ""
    distribution_code_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Everything that other nodes or the server should know; equal ones need not be sent twice.

    `home_derp` 0 means that no region is chosen yet.
    """

    hostname: str = ""
    routes: tuple[IPNetwork, ...] = ()
    tags: tuple[str, ...] = ()
    endpoints: tuple[OwnEndpoint, ...] = ()
    home_derp: int = 0
    network: NetworkFacts = field(default_factory=NetworkFacts)
    facts: Mapping[str, str] = field(default_factory=dict[str, str])  # from `Announce` resources


def read_machine_facts() -> MachineFacts:
    """Ask the operating system; waits for the disk."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = dict[str, str]()  # no os-release: nothing to say
    return MachineFacts(
        hostname=socket.gethostname().partition(".")[0],
        kernel=platform.release(),
        machine=platform.machine(),
        distribution=release.get("ID", ""),
        distribution_version=release.get("VERSION_ID", ""),
        distribution_code_name=release.get("VERSION_CODENAME", ""),
    )


def make_hostinfo(facts: MachineFacts, said: Announcement) -> Hostinfo:
    return Hostinfo(
        ipn_version=f"{__version__}-gatepost",
        os="linux",
        os_version=facts.kernel,
        distro=facts.distribution,
        distro_version=facts.distribution_version,
        distro_code_name=facts.distribution_code_name,
        app="gatepost",
        hostname=said.hostname or facts.hostname or "gatepost",
        machine=facts.machine,
        go_arch=_ARCHITECTURES.get(facts.machine, facts.machine),
        routable_ips=tuple(str(ip_network(n)) for n in said.routes) or None,
        request_tags=said.tags or None,
        services=_services(said.facts),
        app_connector=APP_CONNECTOR in said.facts or None,
        net_info=_net_info(said.network, said.home_derp),
        userspace=False,
        userspace_router=False,
        state_encrypted=True,
        peer_relay=PEER_RELAY in said.facts,
    )


def _services(facts: Mapping[str, str]) -> tuple[Service, ...] | None:
    """Return what this node serves its peers. Source: protocol document 5."""
    if SERVICE not in facts:
        return None
    port = int(facts[SERVICE])
    both = (Service(proto="peerapi4", port=port), Service(proto="peerapi6", port=port))
    return (*both, Service(proto="peerapi-dns-proxy", port=1)) if NAMES in facts else both


def _net_info(network: NetworkFacts, home: int) -> NetInfo | None:
    """Return what netcheck found; None before it has found anything."""
    if not home and network == NetworkFacts():
        return None
    # Which protocol a router speaks matters to nobody else; that it speaks none does.
    none = False if network.mapping is False else None
    return NetInfo(
        mapping_varies_by_dest_ip=network.varies,
        working_ipv6=network.ipv6,
        working_udp=network.udp,
        have_port_map=bool(network.mapping),
        upnp=none,
        pmp=none,
        pcp=none,
        preferred_derp=home,
    )
