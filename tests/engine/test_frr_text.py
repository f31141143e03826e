"""The configuration of FRR: nothing gets in that was not meant, and changes reach their goal."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.engine.frr_text import (
    Config,
    Line,
    Program,
    config_change,
    config_text,
    frr_config,
    why_no_password,
)
from gatepost.model.routing import BgpNeighbour, BgpSpeaker, OspfSpeaker, RoutingDaemon

SECRET = Path("/etc/gatepost/secret")
BGP = BgpSpeaker(
    number=65001,
    neighbours=(
        BgpNeighbour(address=ip_address("10.1.0.9"), number=65002, password_file=SECRET),
        BgpNeighbour(address=ip_address("fd00:1::9"), number=65003),
    ),
)
OSPF = OspfSpeaker(area=IPv4Address("0.0.0.51"), links=("lan0", "lan1"), password_file=SECRET)
WANTED = RoutingDaemon(
    router_id=IPv4Address("100.64.0.1"),
    learn=(ip_network("10.0.0.0/8"), ip_network("10.9.0.1/32"), ip_network("fd00::/16")),
    announce=frozenset({ip_network("10.2.0.0/24"), ip_network("fd00:2::/64")}),
    bgp=BGP,
    ospf=OSPF,
)
PASSWORDS = {SECRET: "s3cret!#;"}


def make_network(address: int, length: int) -> IPv4Network:
    return IPv4Network((address, length), strict=False)


networks = st.builds(make_network, st.integers(0, 2**32 - 1), st.integers(1, 32))
passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=16)
neighbours = st.builds(
    BgpNeighbour,
    address=st.ip_addresses(),
    number=st.integers(1, 2**32 - 1),
    password_file=st.sampled_from([None, SECRET]),
)
speakers = st.builds(
    BgpSpeaker,
    number=st.sampled_from([65001, 65002]),
    neighbours=st.lists(neighbours, min_size=1, max_size=3, unique_by=lambda n: n.address).map(
        tuple
    ),
)
ospfs = st.builds(
    OspfSpeaker,
    area=st.ip_addresses(v=4),
    links=st.sampled_from([("lan0",), ("lan1",), ("lan0", "lan1")]),
    hello=st.integers(1, 60),
    password_file=st.sampled_from([None, SECRET]),
)
wishes = st.builds(
    RoutingDaemon,
    router_id=st.ip_addresses(v=4),
    learn=st.lists(networks, max_size=3).map(tuple),
    announce=st.frozensets(networks, max_size=3),
    bgp=st.none() | speakers,
    ospf=st.none() | ospfs,
)


def test_bgp_says_the_meshs_networks_and_believes_only_what_may_be_learnt() -> None:
    text = config_text(frr_config(WANTED, PASSWORDS)["bgpd"])

    assert text == BGPD


BGPD = """\
bgp route-map delay-timer 1
ip prefix-list GATEPOST-LEARN permit 10.0.0.0/8 le 32
ip prefix-list GATEPOST-LEARN permit 10.9.0.1/32
ipv6 prefix-list GATEPOST-LEARN permit fd00::/16 le 128
bgp community-list standard GATEPOST-MARKED permit 65152:52
route-map GATEPOST-MARKED permit 10
set community 65152:52
exit
route-map GATEPOST-IN deny 5
match community GATEPOST-MARKED
exit
route-map GATEPOST-IN permit 10
match ip address prefix-list GATEPOST-LEARN
exit
route-map GATEPOST-IN permit 20
match ipv6 address prefix-list GATEPOST-LEARN
exit
route-map GATEPOST-OUT permit 10
match community GATEPOST-MARKED
exit
router bgp 65001
bgp router-id 100.64.0.1
no bgp default ipv4-unicast
no bgp network import-check
neighbor 10.1.0.9 remote-as 65002
neighbor 10.1.0.9 timers 10 30
neighbor 10.1.0.9 timers connect 10
neighbor 10.1.0.9 password s3cret!#;
neighbor fd00:1::9 remote-as 65003
neighbor fd00:1::9 timers 10 30
neighbor fd00:1::9 timers connect 10
exit
router bgp 65001
address-family ipv4 unicast
network 10.2.0.0/24 route-map GATEPOST-MARKED
neighbor 10.1.0.9 activate
neighbor 10.1.0.9 route-map GATEPOST-IN in
neighbor 10.1.0.9 route-map GATEPOST-OUT out
neighbor 10.1.0.9 maximum-prefix 10000 restart 5
exit
exit
router bgp 65001
address-family ipv6 unicast
network fd00:2::/64 route-map GATEPOST-MARKED
neighbor fd00:1::9 activate
neighbor fd00:1::9 route-map GATEPOST-IN in
neighbor fd00:1::9 route-map GATEPOST-OUT out
neighbor fd00:1::9 maximum-prefix 10000 restart 5
exit
exit
"""


def test_ospf_is_filtered_where_routes_enter_the_kernel() -> None:
    configs = frr_config(WANTED, PASSWORDS)

    assert "ip protocol ospf route-map GATEPOST-IN\n" in config_text(configs["zebra"])
    assert "match tag 5252\n" in config_text(configs["zebra"])
    assert "redistribute kernel route-map GATEPOST-OUT\n" in config_text(configs["ospfd"])
    assert "ip ospf message-digest-key 1 md5 s3cret!#;\n" in config_text(configs["ospfd"])


def test_only_what_is_needed_runs() -> None:
    assert set(frr_config(replace(WANTED, ospf=None), PASSWORDS)) == {"zebra", "bgpd"}
    assert set(frr_config(replace(WANTED, bgp=None), PASSWORDS)) == {"zebra", "ospfd"}


def test_a_change_of_one_neighbour_leaves_the_other_alone() -> None:
    (first, second) = BGP.neighbours
    moved = replace(BGP, neighbours=(replace(first, number=65009), second))

    assert change(WANTED, replace(WANTED, bgp=moved)) == (
        ("router bgp 65001", "neighbor 10.1.0.9 remote-as 65009"),
    )


def test_a_neighbour_is_taken_from_its_family_before_it_goes() -> None:
    left = replace(BGP, neighbours=BGP.neighbours[1:])

    runs = change(WANTED, replace(WANTED, bgp=left))

    assert runs[0][:2] == ("router bgp 65001", "address-family ipv4 unicast")
    assert runs[1][-1] == "no neighbor 10.1.0.9"
    assert not any("fd00:1::9" in command for run in runs for command in run)


def test_another_system_number_begins_anew() -> None:
    runs = change(WANTED, replace(WANTED, bgp=replace(BGP, number=65000)))

    assert runs[0] == ("no router bgp 65001",)
    assert runs[1][0] == "router bgp 65000"


@pytest.mark.parametrize("program", ["zebra", "bgpd", "ospfd"])
def test_no_change_is_no_command(program: Program) -> None:
    config = frr_config(WANTED, PASSWORDS)[program]

    assert config_change(config, config) == ()


@settings(max_examples=40, deadline=None)
@given(wishes, wishes)
def test_a_change_reaches_its_goal(old: RoutingDaemon, new: RoutingDaemon) -> None:
    before, after = frr_config(old, PASSWORDS), frr_config(new, PASSWORDS)
    for program in before.keys() & after.keys():
        held = obey(held_lines(before[program]), config_change(before[program], after[program]))

        assert held == held_lines(after[program])


Held = dict[tuple[str, ...], set[str]]


def held_lines(config: Config) -> Held:
    """Return what a program holds that has read a configuration; no empty sections."""
    return {s.heads: {line.text for line in s.lines} for s in config if s.lines}


def obey(held: Held, runs: tuple[tuple[str, ...], ...]) -> Held:
    """Do what FRR does with commands, as far as ours go; a wrong "no" is an error."""
    for run in runs:
        heads: tuple[str, ...] = ()
        for command in run:
            if re.match(r"router |address-family |route-map \S+ (permit|deny)|interface ", command):
                heads = (*heads, command)
            else:
                held = obey_one(held, heads, command)
    return {heads: lines for heads, lines in held.items() if lines}


def obey_one(held: Held, heads: tuple[str, ...], command: str) -> Held:
    lines = held.setdefault(heads, set())
    head = (*heads, command.removeprefix("no "))
    if command.startswith("no ") and head in held:
        return {h: kept for h, kept in held.items() if h[: len(head)] != head}
    fixed = ("no bgp default ipv4-unicast", "no bgp network import-check")
    if command.startswith("no ") and command not in (*fixed, "no zebra nexthop kernel enable"):
        gone = {k for k in lines if f"{k} ".startswith(command.removeprefix("no ") + " ")}
        assert gone, f"{command} in {heads}: nothing to take back"
        lines -= gone
        return held
    lines -= {k for k in lines if (name := setting(k)) and name == setting(command)}
    lines.add(command)
    return held


def setting(command: str) -> str:
    """Return the name of what a command sets to one value; nothing if it adds one of many."""
    names = r"(bgp|ospf) router-id|ip ospf (hello|dead)-interval"
    of_neighbour = r"neighbor \S+ (remote-as|timers connect|timers|password)"
    found = re.match(rf"({names}|{of_neighbour}) ", command)
    return found[1] if found else ""


def change(old: RoutingDaemon, new: RoutingDaemon) -> tuple[tuple[str, ...], ...]:
    return config_change(frr_config(old, PASSWORDS)["bgpd"], frr_config(new, PASSWORDS)["bgpd"])


@settings(max_examples=40, deadline=None)
@given(wishes, passwords)
def test_no_name_or_password_adds_a_line(wanted: RoutingDaemon, password: str) -> None:
    plain = frr_config(wanted, {SECRET: "x"})
    hostile = frr_config(wanted, {SECRET: password})

    assert plain.keys() == hostile.keys()
    for program, config in hostile.items():
        text = config_text(config)
        assert text.isascii()
        assert text.count("\n") == config_text(plain[program]).count("\n")
        assert all(line == line.strip() for line in text.splitlines())


@given(st.text(max_size=90))
def test_a_password_is_one_visible_word_or_refused(text: str) -> None:
    is_word = re.fullmatch(r"[!->@-{}~]{1,80}", text) is not None

    assert (why_no_password(text, 80) == "") == is_word


def test_why_a_password_is_refused_does_not_show_it() -> None:
    for text in ("", "two words", "a\nrouter bgp 1", "x" * 81, "pipe|here", "schlüssel"):
        reason = why_no_password(text, 80)

        assert reason
        assert not text or text not in reason


def test_a_line_is_taken_back_as_it_was_said() -> None:
    assert Line("network 10.0.0.0/8").reverse == "no network 10.0.0.0/8"
    assert Line("a", "b", undo="no a").reverse == "no a"
