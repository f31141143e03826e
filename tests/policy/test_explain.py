"""`can` names the rules, what they mean, and what comes with them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from tests.policy.makers import BOB, CAROL, accept, compiled, make_inventory, make_machine

from gatepost.policy.compiled import Compiled
from gatepost.policy.explain import Answer, Question, can, meanings
from gatepost.policy.inventory import Inventory

ALICES, WEB, ROUTER, CAROLS = 1, 2, 3, 4


def make_mesh() -> Inventory:
    return make_inventory(
        make_machine(ALICES),
        make_machine(WEB, owner=BOB, tags=("tag:web",)),
        make_machine(ROUTER, tags=("tag:router",), routes=("10.1.0.0/16",)),
        make_machine(CAROLS, owner=CAROL, facts={"node:os": "linux", "node:tsVersion": "1.9"}),
    )


def ask(made: Compiled, source: int, destination: str, port: int = 80) -> Answer:
    address = ip_address("100.64.0.0") + source
    return can(made, Question(source=address, destination=ip_address(destination), port=port))


def test_a_yes_names_the_rule_and_who_takes_the_packet() -> None:
    made = compiled(
        make_mesh(), acls=[accept("tag:router", "*:*"), accept("alice@example.com", "tag:web:80")]
    )

    answer = ask(made, ALICES, "100.64.0.2")

    assert answer.is_allowed
    assert [r.place_in_policy for r in answer.rules] == [("acls", 1)]
    assert answer.receivers == (WEB,)
    assert not ask(made, ALICES, "100.64.0.2", port=81).is_allowed


def test_a_rule_about_what_nobody_carries_is_written_and_not_allowed() -> None:
    made = compiled(make_mesh(), acls=[accept("alice@example.com", "10.0.0.0/8:*")])

    assert ask(made, ALICES, "10.1.2.3").is_allowed
    answer = ask(made, ALICES, "10.2.2.3")
    assert (answer.is_written, answer.is_allowed, answer.receivers) == (True, False, ())


def test_capabilities_are_told_with_their_companions() -> None:
    share = {"tailscale.com/cap/drive": [{"access": "ro"}]}
    made = compiled(
        make_mesh(), grants=[{"src": ["alice@example.com"], "dst": ["tag:web"], "app": share}]
    )

    assert ask(made, ALICES, "100.64.0.2").capabilities == (
        ("tailscale.com/cap/drive", ('{"access":"ro"}',)),
    )
    assert ask(made, WEB, "100.64.0.1").capabilities == (("tailscale.com/cap/drive-sharer", ()),)


def test_what_is_shared_among_own_devices_is_no_companion_elsewhere() -> None:
    share = {"tailscale.com/cap/drive": [{"access": "ro"}]}
    grant = {"src": ["autogroup:member"], "dst": ["autogroup:self"], "app": share}
    mesh = make_inventory(make_machine(ALICES), make_machine(5), make_machine(CAROLS, owner=CAROL))
    made = compiled(mesh, grants=[grant])

    assert {name for name, _ in ask(made, ALICES, "100.64.0.5").capabilities} == {
        "tailscale.com/cap/drive",
        "tailscale.com/cap/drive-sharer",
    }
    assert ask(made, ALICES, "100.64.0.4").capabilities == ()


def test_names_are_explained() -> None:
    made = compiled(make_mesh(), acls=[accept(["alice@example.com", "10.1.0.0/16"], "tag:web:80")])

    source, network, target = meanings(made, made.rules[0])

    assert (str(source.name), source.machines) == ("alice@example.com", (ALICES,))
    assert network.addresses == ("10.1.0.0/16",)
    assert (str(target.name), target.machines) == ("tag:web", (WEB,))


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("node:os == 'linux'", True),
        ("node:os != 'linux'", False),
        ("node:os IN ['windows', 'linux']", True),
        ("node:tsVersion >= '1.60'", False),
        ("node:tsVersion < '1.60'", True),
        ("custom:tier IS SET", False),
    ],
)
def test_a_posture_decides_who_a_rule_is_about(condition: str, *, fits: bool) -> None:
    acl = accept("carol@example.com", "tag:web:80") | {"srcPosture": ["posture:ours"]}
    made = compiled(make_mesh(), acls=[acl], postures={"posture:ours": [condition]})

    assert ask(made, CAROLS, "100.64.0.2").is_allowed == fits
    assert made.view(WEB).sees(CAROLS) == fits


def test_a_device_that_says_nothing_of_itself_fits_no_posture() -> None:
    made = compiled(
        make_mesh(),
        acls=[accept("*", "tag:web:80")],
        postures={"posture:ours": ["node:os == 'linux'"]},
        defaultSrcPosture=["posture:ours"],
    )

    assert ask(made, CAROLS, "100.64.0.2").is_allowed
    assert not ask(made, ALICES, "100.64.0.2").is_allowed


def test_who_may_sign_in_is_decided_by_the_strictest_rule() -> None:
    made = compiled(
        make_mesh(),
        acls=[accept("*", "*:*")],
        ssh=[
            {
                "action": "accept",
                "src": ["autogroup:member"],
                "dst": ["tag:web"],
                "users": ["root"],
            },
            {
                "action": "check",
                "checkPeriod": "1h",
                "src": ["carol@example.com"],
                "dst": ["tag:web"],
                "users": ["root", "autogroup:nonroot"],
            },
        ],
    )

    assert made.ssh.verdict(ALICES, WEB, "root")[0] == "accept"
    assert made.ssh.verdict(ALICES, WEB, "ubuntu")[0] == "deny"
    assert made.ssh.verdict(CAROLS, WEB, "root")[0] == "check"
    assert made.ssh.verdict(CAROLS, WEB, "ubuntu")[0] == "check"
    assert made.ssh.verdict(ROUTER, WEB, "root")[0] == "deny"
