"""A box goes out to the internet through another one, or through a rented tunnel, or not at all.

What leaves beside the exit is captured on the box's links while things break.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gatepost.model import owned
from gatepost.model.status import PluginRequest, ProviderRequest, UpRequest
from gatepost.testing.exit_flaps import EVERYWHERE, KINDS, Flaps, prepare, run_flaps
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_exit import hear, in_the_clear, talk, watch_uplink
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.lab_provider import ANSWER, PUBLIC_V4, PUBLIC_V6, make_provider
from gatepost.testing.netns import LabError, Machine
from gatepost.testing.scene_lab import answer, ask, ping, turn_on
from gatepost.testing.scenes import Row, Tell, expect
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Nat

SITES = {"a": Nat.NONE, "b": Nat.NONE, "c": Nat.PORT_RESTRICTED}
FLAPS = len(KINDS)
NAME = "www.example.com"
NAMES_AT = "100.100.100.100"
READY = 20.0  # seconds


def run(tell: Tell) -> Iterator[Row]:
    with bring_up(SITES, say=tell) as lab:
        for target in (INTERNET_V4, INTERNET_V6):
            answer(lab.topology.internet, "internet", str(target))
        tell("box-a and box-b offer themselves as exit nodes, box-c uses box-b")
        user, exits = lab.boxes["c"], lab.boxes["b"]
        flaps = prepare(lab, user, (exits, lab.boxes["a"]))
        yield from _used(user, exits)
        yield from _behind(user, exits, tell)
        yield from _lan(user, tell)
        yield from _flaps(flaps, tell)
        if flaps.used:
            flaps.flap("other exit")
        yield from _provider(lab, user, exits, tell)
        yield from _off(exits, tell)


def _used(user: Box, exits: Box) -> Iterator[Row]:
    for version in (4, 6):
        shown = f"box-c in the internet, IPv{version}"
        yield expect(
            shown, f"internet sees {_public(exits, version)}", _seen(user.site.box, version)
        )


def _behind(user: Box, exits: Box, tell: Tell) -> Iterator[Row]:
    site = user.site
    tell(f"the LAN of box-c goes out through box-b, too: {site.lan_v4}, {site.lan_v6}")
    networks = [str(site.lan_v4), str(site.lan_v6)]
    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": networks}))
    for version, lan in ((4, site.lan_v4), (6, site.lan_v6)):
        _await_rule(user, version, f"from {lan} ")
        shown = f"host-c behind it, IPv{version}"
        yield expect(shown, f"internet sees {_public(exits, version)}", _seen(site.host, version))
    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": []}))


def _lan(user: Box, tell: Tell) -> Iterator[Row]:
    host = str(user.site.host_v4)
    yield expect("its LAN, allowed", "answered", ask(user.site.box, "icmp", host))
    tell("the LAN of box-c is not allowed any more")
    user.client.change_settings(UpRequest(exit_node_allow_lan_access=False))
    wait_for(
        lambda: None if ping(user.site.box, host) else True,
        seconds=READY,
        otherwise=user.daemon.tail,
    )
    yield expect("its LAN, not allowed", "lost", ask(user.site.box, "icmp", host))
    user.client.change_settings(UpRequest(exit_node_allow_lan_access=True))
    wait_for(
        lambda: True if ping(user.site.box, host) else None,
        seconds=READY,
        otherwise=user.daemon.tail,
    )


def _flaps(flaps: Flaps, tell: Tell) -> Iterator[Row]:
    tell(f"{FLAPS} times: {', '.join(KINDS)}; both links of box-c are captured")
    outcome = run_flaps(flaps, FLAPS)
    seen = sum(outcome.heard.values())
    for kind, number in outcome.flaps.items():
        longest = max(outcome.back[kind])
        yield expect(
            kind if number == 1 else f"{kind}, {number} times", "no packet beside the exit",
            "no packet beside the exit" if not outcome.leaked else f"leaked {outcome.leaked}",
            figure=f"back after {longest:.1f} s",
        )  # fmt: skip
    known = {_public(box, version) for box in flaps.exits for version in (4, 6)}
    yield expect(
        "who was heard outside meanwhile", "both exits", "both exits"
        if set(outcome.heard) == known else ", ".join(sorted(outcome.heard)),
        figure=f"{seen} packets",
    )  # fmt: skip


def _provider(lab: Lab, user: Box, exits: Box, tell: Tell) -> Iterator[Row]:
    tell("box-b imports the file of a WireGuard provider and offers its tunnel")
    provider = make_provider(lab)
    exits.client.import_provider(ProviderRequest(name="rented", text=provider.file))
    turn_on(exits, "exit-provider", use="rented")
    lab.approve(exits, *EVERYWHERE)
    turn_on(user, "magic-dns")
    wait_for(
        lambda: True if str(PUBLIC_V4) in _seen(user.site.box, 4) else None,
        seconds=READY,
        otherwise=exits.daemon.tail,
    )
    for version, public in ((4, PUBLIC_V4), (6, PUBLIC_V6)):
        shown = f"box-c through the provider, IPv{version}"
        yield expect(shown, f"internet sees {public}", _seen(user.site.box, version))
    yield expect("names, from the provider's server", ANSWER, _resolved(user))
    yield from _provider_down(lab, user, exits, tell)


def _provider_down(lab: Lab, user: Box, exits: Box, tell: Tell) -> Iterator[Row]:
    tell("the provider's tunnel is deleted and made again while box-c talks")
    site = exits.site
    wire = watch_uplink(lab, site)
    ear = hear(lab.topology.internet)
    talker = talk(user.site.box)
    for _ in range(3):
        site.box.run("ip", "link", "delete", owned.PROVIDER_DEVICE)
        wait_for(
            lambda: True if ping(user.site.box, str(INTERNET_V4)) else None,
            seconds=READY,
            otherwise=exits.daemon.tail,
        )
    talker.hush()
    leaked, heard = in_the_clear(wire.finish()), ear.finish()
    beside = f"leaked {leaked}" if leaked else "nothing leaves beside it"
    yield expect("its tunnel deleted, 3 times", "nothing leaves beside it", beside)
    yield expect("who was heard outside", f"{PUBLIC_V4} {PUBLIC_V6}", " ".join(sorted(heard)))


def _off(exits: Box, tell: Tell) -> Iterator[Row]:
    """Kill the daemon first: what it finds at its start it must still take away."""
    tell("box-b's daemon is killed and started, then the provider is switched off")
    exits.daemon.signal("KILL")
    exits.daemon.start()
    exits.await_answer()
    exits.client.change_plugin("exit-provider", PluginRequest(enabled=False))
    with contextlib.suppress(LabError):
        wait_for(lambda: None if _left(exits) else True, seconds=READY, otherwise=lambda: "")
    left = _left(exits)
    yield expect(
        "the provider switched off", "nothing stays behind", left or "nothing stays behind"
    )


def _left(exits: Box) -> str:
    """Return what a box still has of a provider."""
    machine, table = exits.site.box, str(owned.PROVIDER_TABLE)
    found = (
        machine.attempt("ip", "-brief", "link", "show", owned.PROVIDER_DEVICE).stdout,
        machine.attempt("nft", "list", "table", "inet", owned.NFT_PROVIDER_TABLE).stdout,
        machine.run("ip", "rule", "show", "table", table),
        machine.run("ip", "-6", "rule", "show", "table", table),
        machine.attempt("ip", "route", "show", "table", table).stdout,
        machine.attempt("ip", "-6", "route", "show", "table", table).stdout,
    )
    return " ".join(text.strip() for text in found if text.strip())


def _seen(machine: Machine, version: int) -> str:
    target = INTERNET_V4 if version == 4 else INTERNET_V6  # noqa: PLR2004  # the version of IP
    return ask(machine, "tcp", str(target), sees=True)


def _public(box: Box, version: int) -> str:
    return str(box.site.public_v4 if version == 4 else box.site.public_v6)  # noqa: PLR2004


def _resolved(user: Box) -> str:
    """Return what the box's own resolver says, which may have to be started first."""

    def look() -> str | None:
        said = user.site.box.attempt("dig", "+short", "+time=2", "+tries=1", f"@{NAMES_AT}", NAME)
        return said.stdout.strip() or None if not said.returncode else None

    return wait_for(look, seconds=READY, otherwise=user.daemon.tail)


def _await_rule(user: Box, version: int, words: str) -> None:
    wait_for(
        lambda: True if words in user.site.box.run("ip", f"-{version}", "rule") else None,
        seconds=READY,
        otherwise=user.daemon.tail,
    )
