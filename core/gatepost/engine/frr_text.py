"""The configuration of FRR's daemons, and the commands from one configuration to another. Pure.

One set of sections per daemon. A section is what stands below a line such as `router bgp
65001`; the section without one is the top level. Each line knows how it is taken back, so
that a change of one neighbour leaves the sessions with the others alone.

What we tell the LAN's routers carries a mark (a community in BGP, a tag in OSPF), and what
carries it is believed of nobody: a second box in the same LAN tells the same networks, and
must not learn them from there.

Written for FRR 8.4 to 10 (docs.frrouting.org: bgp, ospfd, filter, routemap, zebra).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

from gatepost.model.netmap import IPNetwork
from gatepost.model.owned import DEVICE
from gatepost.model.routing import BgpNeighbour, BgpSpeaker, OspfSpeaker, RoutingDaemon

Program = Literal["zebra", "bgpd", "ospfd"]
PROGRAMS: tuple[Program, ...] = ("zebra", "bgpd", "ospfd")

LEARN, IN, OUT = "GATEPOST-LEARN", "GATEPOST-IN", "GATEPOST-OUT"
MARKED = "GATEPOST-MARKED"
COMMUNITY = "65152:52"  # on what we announce; of private numbers, and nobody's but by accident
TAG = 5252  # the same in OSPF
KEEP_ALIVE, HOLD, RETRY = 10, 30, 10  # seconds of BGP; FRR waits 60, 180 and 120
MOST_ROUTES = 10_000  # of one BGP neighbour, then the session ends for
PAUSE = 5  # minutes
DEAD = 4  # hello intervals of OSPF after which a neighbour is gone (RFC 2328, C.3)

Passwords = Mapping[Path, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `name` says what is set, `value` to what; `undo` if not by "no" and the name."""

    name: str
    value: str = ""
    undo: str = ""

    @property
    def text(self) -> str:
        return f"{self.name} {self.value}".rstrip()

    @property
    def reverse(self) -> str:
        return self.undo or f"no {self.text}"


@dataclass(frozen=True, slots=True)
class Section:
    """Lines below `heads`, from the outermost; below none they are at the top level.

    A section that is `lasting` cannot be taken away as a whole.
    """

    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    lasting: bool = False


Config = tuple[Section, ...]


def frr_config(wanted: RoutingDaemon, passwords: Passwords) -> dict[Program, Config]:
    """Return what each program that is needed shall read; `passwords` has all that are named."""
    configs: dict[Program, Config] = {"zebra": _gathered(_zebra(wanted))}
    if wanted.bgp is not None:
        configs["bgpd"] = _gathered(_bgpd(wanted, wanted.bgp, passwords))
    if wanted.ospf is not None:
        configs["ospfd"] = _gathered(_ospfd(wanted, wanted.ospf, passwords))
    return configs


def _gathered(sections: Iterable[Section]) -> Config:
    """Make one section of those with the same heads, and one line of those that are the same."""
    found: dict[tuple[str, ...], Section] = {}
    for section in sections:
        before = found.get(section.heads)
        lines = (*before.lines, *section.lines) if before else section.lines
        found[section.heads] = replace(section, lines=tuple(dict.fromkeys(lines)))
    return tuple(found.values())


def config_text(config: Config) -> str:
    """Return it as the file that the program reads when it starts."""
    lines = list[str]()
    for section in config:
        lines += section.heads
        lines += [line.text for line in section.lines]
        lines += ["exit"] * len(section.heads)
    return "\n".join(lines) + "\n"


def config_change(old: Config, new: Config) -> tuple[tuple[str, ...], ...]:
    """Return runs of commands, each from the top level, that make `new` of `old`.

    What is removed goes last first, so that nothing is taken from what is gone already.
    """
    before = {section.heads: section for section in old}
    after = {section.heads: section for section in new}
    runs = [run for s in reversed(old) for run in _removal(s, after)]
    runs += [run for s in new if (run := _addition(s, before.get(s.heads)))]
    return tuple(runs)


def _removal(
    section: Section, after: Mapping[tuple[str, ...], Section]
) -> Iterator[tuple[str, ...]]:
    *outer, head = section.heads or ("",)
    if outer and tuple(outer) not in after:
        return  # it goes with the section around it
    kept = after.get(section.heads)
    if kept is None and head and not section.lasting:
        yield (*outer, f"no {head}")
        return
    lines = kept.lines if kept else ()
    same, changed = {line.text for line in lines}, {line.name for line in lines if line.value}
    undone = [
        line.reverse
        for line in reversed(section.lines)
        if line.text not in same and line.name not in changed
    ]
    if undone:
        yield (*section.heads, *undone)


def _addition(section: Section, before: Section | None) -> tuple[str, ...]:
    known = {line.text for line in before.lines} if before else set[str]()
    added = [line.text for line in section.lines if line.text not in known]
    return (*section.heads, *added) if added or before is None else ()


# --- zebra: between the others and the kernel --------------------------------------------


def _zebra(wanted: RoutingDaemon) -> Iterator[Section]:
    yield Section((), (Line("no zebra nexthop kernel enable"),))  # those have no owner
    if wanted.ospf is not None:
        yield from _lists(wanted.learn)
        yield Section((f"route-map {IN} deny 5",), (Line(f"match tag {TAG}"),))
        yield Section(
            (f"route-map {IN} permit 10",), (Line(f"match ip address prefix-list {LEARN}"),)
        )
        yield Section((), (Line(f"ip protocol ospf route-map {IN}"),))


def _lists(learn: tuple[IPNetwork, ...]) -> Iterator[Section]:
    for network in learn:
        family = _family(network)
        longest = network.max_prefixlen
        within = "" if network.prefixlen == longest else f" le {longest}"
        text = f"{family} prefix-list {LEARN} permit {network}{within}"
        yield Section((), (Line(text),))


# --- bgpd ------------------------------------------------------------------------------


def _bgpd(wanted: RoutingDaemon, bgp: BgpSpeaker, passwords: Passwords) -> Iterator[Section]:
    yield Section((), (Line("bgp route-map delay-timer", "1"),))
    yield from _lists(wanted.learn)
    yield Section((), (Line(f"bgp community-list standard {MARKED} permit {COMMUNITY}"),))
    yield Section((f"route-map {MARKED} permit 10",), (Line(f"set community {COMMUNITY}"),))
    yield Section((f"route-map {IN} deny 5",), (Line(f"match community {MARKED}"),))
    for number, family in ((10, "ip"), (20, "ipv6")):
        match = Line(f"match {family} address prefix-list {LEARN}")
        yield Section((f"route-map {IN} permit {number}",), (match,))
    yield Section((f"route-map {OUT} permit 10",), (Line(f"match community {MARKED}"),))
    router = f"router bgp {bgp.number}"
    general = (
        Line("bgp router-id", str(wanted.router_id)),
        Line("no bgp default ipv4-unicast"),
        Line("no bgp network import-check"),  # the mesh's routes are in a table of their own
    )
    sessions = tuple(line for n in bgp.neighbours for line in _session(n, passwords))
    yield Section((router,), (*general, *sessions))
    for version, family in ((4, "ipv4"), (6, "ipv6")):
        neighbours = [n for n in bgp.neighbours if n.address.version == version]
        if neighbours:
            networks = [n for n in _sorted(wanted.announce or frozenset()) if n.version == version]
            lines = (*map(_network, networks), *(k for n in neighbours for k in _use(n)))
            yield Section((router, f"address-family {family} unicast"), lines, lasting=True)


def _session(neighbour: BgpNeighbour, passwords: Passwords) -> Iterator[Line]:
    name = f"neighbor {neighbour.address}"
    yield Line(f"{name} remote-as", str(neighbour.number), undo=f"no {name}")
    yield Line(f"{name} timers", f"{KEEP_ALIVE} {HOLD}", undo=f"no {name} timers")
    yield Line(f"{name} timers connect", str(RETRY), undo=f"no {name} timers connect")
    if neighbour.password_file is not None:
        password = passwords[neighbour.password_file]
        yield Line(f"{name} password", password, undo=f"no {name} password")


def _network(network: IPNetwork) -> Line:
    return Line(f"network {network} route-map {MARKED}", undo=f"no network {network}")


def _use(neighbour: BgpNeighbour) -> Iterator[Line]:
    name = f"neighbor {neighbour.address}"
    yield Line(f"{name} activate")
    yield Line(f"{name} route-map {IN} in")
    yield Line(f"{name} route-map {OUT} out")
    yield Line(
        f"{name} maximum-prefix {MOST_ROUTES} restart {PAUSE}", undo=f"no {name} maximum-prefix"
    )


# --- ospfd -----------------------------------------------------------------------------


def _ospfd(wanted: RoutingDaemon, ospf: OspfSpeaker, passwords: Passwords) -> Iterator[Section]:
    yield Section(
        (f"route-map {OUT} permit 10",),
        (Line(f"match interface {DEVICE}"), Line("set tag", str(TAG))),
    )
    for link in ospf.links:
        yield Section((f"interface {link}",), tuple(_link(ospf, passwords)), lasting=True)
    general = Line("ospf router-id", str(wanted.router_id))
    # zebra knows the mesh's networks as routes of the kernel: see gatepost.linux.frr_signs.
    yield Section(("router ospf",), (general, Line(f"redistribute kernel route-map {OUT}")))


def _link(ospf: OspfSpeaker, passwords: Passwords) -> Iterator[Line]:
    yield Line("ip ospf hello-interval", str(ospf.hello), undo="no ip ospf hello-interval")
    yield Line("ip ospf dead-interval", str(DEAD * ospf.hello), undo="no ip ospf dead-interval")
    if ospf.password_file is not None:
        yield Line("ip ospf authentication message-digest", undo="no ip ospf authentication")
        key = f"ip ospf message-digest-key 1 md5 {passwords[ospf.password_file]}"
        yield Line(key, undo="no ip ospf message-digest-key 1")
    yield Line(f"ip ospf area {ospf.area}", undo="no ip ospf area")


def _family(network: IPNetwork) -> str:
    return "ip" if isinstance(network, IPv4Network) else "ipv6"


def _sorted(networks: frozenset[IPNetwork]) -> list[IPNetwork]:
    return sorted(networks, key=lambda n: (n.version, n.network_address.packed, n.prefixlen))


def why_no_password(text: str, longest: int) -> str:
    """Say why a text is no password; nothing if it is. FRR reads a line of a file for it."""
    if not 1 <= len(text) <= longest:
        return f"it has {len(text)} characters, and may have 1 to {longest}"
    if not all("!" <= c <= "~" and c not in "?|" for c in text):
        return "it may have visible ASCII characters only, without spaces, ? and |"
    return ""
