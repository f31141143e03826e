"""Gatepost installed on a machine, run by systemd with the units as they are, and removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.systemd.box import CHECKOUT, INSTALLER, Box, booted, check_out, machine, silence

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

_SERVER = """
server-url = "http://127.0.0.1"
domain = "mesh.example"
listen = ["127.0.0.1:80"]
listen-tls = ["127.0.0.1:443"]
stun = ["127.0.0.1:3478"]
[derp]
host = "127.0.0.1"
"""
_UNITS = ("gatepostd", "gatepost-web", "gatepost-coordination")


def install(verb: str, root: Path, *words: str) -> None:
    command = ["bash", str(INSTALLER), verb, *words, "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Give this machine's files with Gatepost installed twice (the second changes nothing)."""
    if os.getuid():
        pytest.skip("needs root")
    with machine(tmp_path_factory.mktemp("box")) as root:
        install("install", root)
        (root / "etc/gatepost/web.env").write_text("GATEPOST_WEB_BIND=127.0.0.1:8099\n")
        install("install", root)
        (root / "etc/gatepost/coordination.toml").write_text(_SERVER)
        silence(root)
        check_out(root)
        units = [*(f"{unit}.service" for unit in _UNITS), "gatepost-frr.path"]
        subprocess.run(["systemctl", f"--root={root}", "--quiet", "enable", *units], check=True)
        yield root


@pytest.fixture(scope="module")
def box(files: Path) -> Generator[Box]:
    with booted(files) as running:
        key = join(running)
        assert key
        yield running


def join(box: Box) -> str:
    box.say("gatepost", "admin", "users", "create", "alice")
    key = box.say("gatepost", "admin", "keys", "create", "--user", "alice")
    box.say("gatepost", "up", "--login-server", "http://127.0.0.1", "--auth-key", key)
    return key


def test_an_upgrade_keeps_what_the_operator_changed(files: Path) -> None:
    assert "8099" in (files / "etc/gatepost/web.env").read_text()


@pytest.mark.parametrize("unit", _UNITS)
def test_the_units_run(box: Box, unit: str) -> None:
    assert box.say("systemctl", "is-active", unit) == "active"
    assert "Operation not permitted" not in box.journal(unit)


def test_the_node_runs_under_its_unit(box: Box) -> None:
    status = json.loads(box.say("gatepost", "status", "--json"))

    assert status["state"] == "Running"
    assert status["derp"]["connected"]
    assert "100.64.0.1/32" in box.say("ip", "-brief", "address", "show", "gatepost0").split()


def test_forwarding_can_be_switched_on_under_the_unit(box: Box) -> None:
    box.say("gatepost", "set", "--advertise-routes", "10.1.0.0/16")
    box.until("gatepost", "admin", "routes", "list", says="10.1.0.0/16")
    box.say("gatepost", "admin", "routes", "approve", "1", "10.1.0.0/16")

    box.until("cat", "/proc/sys/net/ipv4/ip_forward", says="1")


def test_frr_runs_under_its_unit_while_the_node_wants_it(box: Box) -> None:
    box.say("gatepost", "plugin", "enable", "dynamic-routing")
    words = ("as-number=65001", "neighbours=127.0.0.9 as 65002", "ospf-links=lo")
    box.say("gatepost", "plugin", "set", "dynamic-routing", *words)
    box.until("gatepost", "status", "--json", says="BGP with 127.0.0.9 is down")
    journal = box.journal("gatepost-frr")
    box.say("gatepost", "plugin", "disable", "dynamic-routing")
    box.until("sh", "-c", "systemctl is-active gatepost-frr || :", says="inactive")

    assert "ospfd runs" in journal
    assert "not permitted" not in journal
    assert box.run("pgrep", "-x", "zebra").returncode == 1


def test_only_root_and_the_group_change_things(box: Box) -> None:
    looked = box.run("runuser", "-u", "nobody", "--", "gatepost", "ip", "-4")
    changed = box.run("runuser", "-u", "nobody", "--", "gatepost", "down")
    administered = box.run("runuser", "-u", "nobody", "--", "gatepost", "admin", "nodes", "list")
    member = box.run("runuser", "-u", "nobody", "-G", "gatepost", "--", "gatepost", "set", "--json")

    assert looked.stdout == "100.64.0.1\n"
    assert (changed.returncode, administered.returncode) == (1, 1)
    assert "join the group" in changed.stderr
    assert member.returncode == 0


def test_the_journal_has_the_fields(box: Box) -> None:
    entries = box.say(
        "journalctl",
        "--output=json",
        "LOGGER=gatepost.coordination",
        "SYSLOG_IDENTIFIER=gatepost-coordination",
    )
    entry = json.loads(entries.splitlines()[0])

    assert entry["PRIORITY"] == "6"
    assert entry["CODE_FILE"].endswith("coordination/main.py")


def test_the_journal_can_be_asked_by_our_own_fields(box: Box) -> None:
    entries = box.say("journalctl", "--output=json", "--unit=gatepostd", "GATEPOST_REGION=900")
    entry = json.loads(entries.splitlines()[0])

    assert entry["GATEPOST_RELAY"]
    assert entry["MESSAGE"] == f"derp region 900: connected to {entry['GATEPOST_RELAY']}"


def test_the_web_page_answers_and_reaches_the_node(box: Box) -> None:
    asked = (
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8099, timeout=9);"
        "c.request('GET', '/'); r = c.getresponse(); print(r.status, r.headers['Location'])"
    )

    assert box.say("python3", "-c", asked) == "302 /setup"
    assert len(box.say("gatepost", "web-setup-code")) == 19


def test_a_restart_and_a_kill_leave_everything_as_it_is(box: Box) -> None:
    tunnel = box.say("pgrep", "wireguard-go")
    box.say("systemctl", "restart", "gatepostd")  # stores the newest netmap
    box.until("gatepost", "status", "--json", says='"control_connected": true')
    box.say("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "gatepostd")
    box.until("systemctl", "show", "--property=NRestarts", "gatepostd", says="NRestarts=1")
    box.until("gatepost", "status", "--json", says='"control_connected": true')
    after = box.journal("gatepostd").split("Starting gatepostd")[2:]
    # Nobody answers names while the daemon is away, so that alone is given back meanwhile.
    kinds = [re.findall(r"(\w+): writing", text) for text in after]

    assert box.say("pgrep", "wireguard-go") == tunnel
    assert kinds == [["HostResolver"], ["HostResolver"]]


def test_what_an_exit_node_guards_is_guarded_from_boot_on(box: Box) -> None:
    guard = ("nft", "list", "table", "inet", "gatepost-guard")
    box.say("gatepost", "plugin", "enable", "exit-node")
    box.say("gatepost", "plugin", "set", "exit-node", "use=nobody")
    box.until(*guard, says="chain leave")
    loaded = box.say(*guard)
    box.say("systemctl", "stop", "gatepostd")
    box.say("nft", "flush", "ruleset")
    box.say("systemctl", "restart", "gatepost-guard")  # twice, as a careful operator does
    box.say("systemctl", "restart", "gatepost-guard")

    assert box.say(*guard) == loaded

    box.say("systemctl", "start", "gatepostd")
    box.until("gatepost", "status", "--json", says='"control_connected": true')
    box.say("gatepost", "set", "--exit-node", "")
    box.until("sh", "-c", "ls /var/lib/gatepost/*-guard.loaded 2>&1", says="No such file")
    box.say("systemctl", "restart", "gatepost-guard")  # nothing to load: that is no failure


def test_uninstalling_takes_everything_down_and_keeps_keys_and_settings(box: Box) -> None:
    before = (box.root / "etc/gatepost/settings.toml").read_text()
    box.say("bash", str(CHECKOUT / "systemd/install.sh"), "uninstall")

    assert "gatepost" not in box.say("ip", "-brief", "link")
    assert "gatepost" not in box.run("nft", "list", "tables").stdout
    assert box.run("sh", "-c", "command -v gatepost").returncode != 0
    assert not (box.root / "opt/gatepost").exists()
    assert (box.root / "var/lib/gatepost/identity").exists()
    assert (box.root / "etc/gatepost/settings.toml").read_text() == before
