"""A mesh with boxes behind every kind of NAT, and what may happen to their routers.

The coordination server with its relay stands at a site of its own, `hub`.
Sites have IPv4 only until `carry_ipv6`, because IPv6 is not translated: two
boxes that have it never need what is tested here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from ipaddress import IPv4Address

from gatepost.model.owned import PEER_RELAY_PORT
from gatepost.model.policy import PolicyRequest
from gatepost.model.status import PluginRequest, Status, UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import JOIN_TIMEOUT, Lab, ground, start
from gatepost.testing.miniupnpd import install_miniupnpd
from gatepost.testing.nat import Nat, router_rules
from gatepost.testing.topology import Site, Topology

HUB = "hub"
_RELAYING = """\
{
	"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	"grants": [{"src": ["*"], "dst": ["*"], "app": {"tailscale.com/cap/relay": []}}],
}
"""
SPARE = IPv4Address("192.0.2.0")  # RFC 5737; another provider's addresses

Say = Callable[[str], None]


@contextlib.contextmanager
def nat_lab(
    nats: Mapping[str, Nat], *, say: Say = lambda _text: None, keep: bool = False
) -> Generator[Lab]:
    """Have the sites of `nats`, all joined, none of which has talked to another."""
    with ground({HUB: Nat.NONE, **nats}, say=say, keep=keep) as lab:
        for site in lab.sites:
            if site.name != HUB and site.nat is not Nat.IPV6_ONLY:
                drop_ipv6(site)
            if site.nat is Nat.PORT_MAPPING:
                install_miniupnpd(lab.topology, site)
        start(lab, say=say)
        say("joining the boxes")
        join(lab)
        yield lab


def join(lab: Lab) -> None:
    """Let all boxes join, and wait until each of them knows all others."""
    key = lab.key()
    hub = lab.coordination.site
    for box in lab.boxes.values():
        has_v4 = box.site.nat is not Nat.IPV6_ONLY
        url = lab.coordination.url if has_v4 else f"http://[{hub.public_v6}]"
        box.client.up(UpRequest(login_server=url, auth_key=key, hostname=box.name))
    others = len(lab.boxes) - 1
    for box in lab.boxes.values():
        box.await_status(
            lambda s: s.state == "Running" and len(s.peers) == others and s.derp.connected,
            f"mesh of {others} peers",
            JOIN_TIMEOUT,
        )


def offer_relay(lab: Lab) -> None:
    """Let the hub's box relay between all others, by policy and plugin, and await that it does."""
    lab.coordination.client.set_policy(PolicyRequest(text=_RELAYING))
    hub = lab.boxes[HUB]
    hub.client.change_plugin("peer-relay", PluginRequest(enabled=True))
    wait_for(
        lambda: hub.site.box.attempt("ss", "-lnuH").stdout.count(f":{PEER_RELAY_PORT} ") or None,
        seconds=JOIN_TIMEOUT,
        otherwise=lambda: f"no relay listens in {hub.name}:\n{hub.daemon.tail()}",
    )


def mesh_v4(box: Box) -> str:
    """Return a box's own IPv4 address in the mesh."""
    node = box.client.status(peers=False).node
    return next(a for a in (node.addresses if node else ()) if ":" not in a)


def path_to(status: Status, far: str) -> tuple[str, str]:
    """Return the kind of the path to the box of this name and what it leads over."""
    peer = next(p for p in status.peers if p.name.partition(".")[0] == far)
    return peer.path, peer.relay if peer.path == "derp" else peer.endpoint


def drop_ipv6(site: Site) -> None:
    """Take a site's box off IPv6."""
    gateway, address = site.inside_v6[1], site.public_v6
    if site.router is None:
        gateway = address - 1
    site.box.ip(
        f"route delete default via {gateway}",
        f"address delete {address}/64 dev wan0",
    )


def carry_ipv6(lab: Lab) -> None:
    """Undo `drop_ipv6` everywhere: the providers have introduced IPv6."""
    for site in lab.sites:
        if site.name == HUB or site.nat is Nat.IPV6_ONLY:
            continue
        address = site.public_v6
        gateway = site.inside_v6[1] if site.router else address - 1
        site.box.ip(
            f"address add {address}/64 dev wan0",
            f"route add default via {gateway}",
        )


def forget(site: Site, seed: int) -> None:
    """Let all routers of a site forget every mapping, as a restart does; new ones differ."""
    for router, behind in site.routers:
        router.nft(router_rules(site.nat, behind, seed=seed))
        router.run("conntrack", "-F")


def cut_direct(site: Site, keep: Iterable[Site]) -> None:
    """Let the innermost router drop all UDP but that to and from some sites: the hub's."""
    router, _ = site.routers[0]
    kept = ", ".join(str(other.public_v4) for other in keep)
    router.nft(
        "table inet cut { chain through { type filter hook forward priority -10;"
        f" meta l4proto udp ip saddr {{ {kept} }} accept;"
        f" meta l4proto udp ip daddr {{ {kept} }} accept;"
        " meta l4proto udp drop; }; }"
    )


def restore(site: Site) -> None:
    """Undo `cut_direct`."""
    site.routers[0][0].run("nft", "delete", "table", "inet", "cut")


def renumber(topology: Topology, site: Site) -> IPv4Address:
    """Give a site's uplink another public address, and return it; its box is not told."""
    gateway, address = SPARE + 4 * site.number + 1, SPARE + 4 * site.number + 2
    topology.internet.ip(
        f"address flush dev site-{site.number} to {site.public_v4 - 1}",
        f"address add {gateway}/30 dev site-{site.number}",
    )
    site.edge.ip(
        f"address flush dev wan0 to {site.public_v4}",
        f"address add {address}/30 dev wan0",
        f"route add default via {gateway}",
    )
    return address
