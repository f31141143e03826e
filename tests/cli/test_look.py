"""Commands that only look."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace
from tests.cli.conftest import Run

from gatepost import __version__
from gatepost.localapi.words import describe_path, short_name
from gatepost.model.status import PathKind, PeerDocument, RelayServerDocument, SelfDocument
from gatepost.testing.fake_node import GOOD_KEY, FakeNode

NOW = 1_800_000_000.0
_PATHS = ("PATH", "this node", "direct", "offline")  # what the lines have in that column
PEER = PeerDocument(id=2, name="far", key="", addresses=(), endpoint="192.0.2.7:5", relay="lab")


@pytest.fixture
def running(run: Run, daemon: FakeNode) -> FakeNode:
    fresh = replace(daemon.peers[0], last_handshake=time.time())  # noqa: TID251  # a live peer
    daemon.peers = (fresh, *daemon.peers[1:])
    assert run("up", "--auth-key", GOOD_KEY).code == 0
    return daemon


@pytest.mark.usefixtures("running")
def test_status_is_an_aligned_table(run: Run) -> None:
    said = run("status")
    lines = said.out.splitlines()

    assert said.code == 0
    assert lines[0].split() == ["IP", "NAME", "USER", "OS", "PATH", "RX", "TX"]
    assert lines[1].split()[:4] == ["100.64.0.1", "gate", "alice", "-"]
    assert lines[2].split() == [
        *("100.64.0.2", "far", "alice", "linux", "direct", "192.0.2.7:41641"),
        *("1.5", "KiB", "12", "B"),
    ]
    assert "offline, seen" in lines[3]
    starts = [line.index(word) for line, word in zip(lines, _PATHS, strict=False)]
    assert len(set(starts)) == 1
    assert "\x1b" not in said.out
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("relay", "line"),
    [
        (
            RelayServerDocument(port=41650, sessions=1, octets=2048),
            "Peer relay at UDP port 41650, 1 session, 2 KiB carried; forwards in the kernel.",
        ),
        (
            RelayServerDocument(port=7, forwarding="user space", reason="no BPF"),
            "Peer relay at UDP port 7, 0 sessions, 0 B carried; forwards in user space (no BPF).",
        ),
    ],
)
def test_status_says_how_a_relay_forwards(
    run: Run, running: FakeNode, relay: RelayServerDocument, line: str
) -> None:
    running.relay_server = relay

    assert line in run("status").out.splitlines()


@pytest.mark.usefixtures("running")
def test_active_shows_only_peers_with_traffic(run: Run) -> None:
    said = run("status", "--active")

    assert "far" in said.out
    assert "away" not in said.out


@pytest.mark.usefixtures("running")
def test_status_json_has_every_field(run: Run) -> None:
    document = json.loads(run("status", "--json").out)

    assert document["state"] == "Running"
    assert document["netmap_stored"] is False
    assert [peer["name"] for peer in document["peers"]] == ["far.mesh.example", "away.mesh.example"]
    assert document["peers"][1]["routes"] == []


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("words", [("status",), ("status", "--json")])
def test_status_of_a_stopped_node_fails_and_says_why(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)

    assert said.code == 1
    assert said.err == "gatepost is stopped; start it with: gatepost up\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("direct", "direct 192.0.2.7:5"),
        ("derp", "derp lab"),
        ("relay", "relay 192.0.2.7:5 vni 0"),
        ("none", "no path"),
    ],
)
def test_an_active_peer_shows_its_path(path: PathKind, text: str) -> None:
    peer = replace(PEER, path=path, last_handshake=NOW - 100)

    assert describe_path(peer, NOW) == text


@pytest.mark.parametrize(
    ("me", "name", "said"),
    [
        ("gate.hs.example", "hbox1.hs.example", "hbox1"),
        ("gate.hs.example", "hbox1.other.example", "hbox1.other.example"),
        ("gate.hs.example", "hbox1.more.hs.example", "hbox1.more.hs.example"),
        ("gate", "hbox1", "hbox1"),
        ("gate", "hbox1.hs.example", "hbox1.hs.example"),
    ],
)
def test_a_name_is_short_only_in_our_own_network(me: str, name: str, said: str) -> None:
    assert short_name(name, SelfDocument(id=1, name=me, key="", addresses=())) == said


@pytest.mark.usefixtures("running")
def test_names_are_short_whatever_the_server_calls_its_domain(run: Run, node: FakeNode) -> None:
    node.domain = "198.51.100.22"
    names = [line.split()[1] for line in run("status").out.splitlines()]

    assert names == ["NAME", "gate", "far", "away"]
    assert run("ip", "-4", "far").out == "100.64.0.2\n"


def test_a_quiet_peer_is_idle_offline_or_expired() -> None:
    assert describe_path(PEER, NOW) == "idle"
    assert describe_path(replace(PEER, last_handshake=NOW - 200), NOW) == "idle"
    assert describe_path(replace(PEER, online=False), NOW) == "offline"
    seen = replace(PEER, online=False, last_seen=NOW - 7200)
    assert describe_path(seen, NOW) == "offline, seen 2h ago"
    assert describe_path(replace(PEER, expired=True), NOW) == "expired"


def test_without_a_daemon_the_exit_code_is_3_and_the_way_out_is_shown(run: Run) -> None:
    said = run("status")

    assert said.code == 3
    assert "gatepostd is not running" in said.err
    assert "sudo systemctl start gatepostd" in said.err


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    assert run("frobnicate").code == 2


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("stauts",), "status"),
        (("exit-nod",), "exit-node"),
        (("admin", "polcy"), "policy"),
        (("admin", "policy", "ad"), "add"),
        (("plugin", "enabel"), "enable"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_right_one(
    run: Run, words: tuple[str, ...], meant: str
) -> None:
    said = run(*words)

    assert said.code == 2
    assert f"Did you mean '{meant}'" in said.err.replace("one of: ", "")


@pytest.mark.usefixtures("running")
def test_ping_says_each_path_and_stops_when_it_is_direct(run: Run) -> None:
    said = run("ping", "far", "-c", "2")

    assert said.code == 0
    assert said.out.splitlines() == [
        "pong from far (100.64.0.2) via DERP(lab) in 12 ms",
        "pong from far (100.64.0.2) via 192.0.2.7:41641 in 12 ms",
    ]


@pytest.mark.usefixtures("running")
def test_ping_without_a_direct_path_fails_only_when_one_is_wanted(run: Run, node: FakeNode) -> None:
    wanted = run("ping", "far", "-c", "1")
    node.pings = 0
    content = run("ping", "far", "-c", "1", "--until-direct=false")

    assert (wanted.code, content.code) == (1, 0)
    assert "a direct path was not established" in wanted.err


@pytest.mark.usefixtures("running")
def test_ping_without_an_answer_fails(run: Run) -> None:
    said = run("ping", "away", "-c", "1", "--timeout", "2s")

    assert said.code == 1
    assert said.out == "away (100.64.0.3): no answer within 2 s\n"
    assert "no answer from away" in said.err


@pytest.mark.usefixtures("running")
def test_ping_asks_what_the_flags_say(run: Run, node: FakeNode) -> None:
    assert run("ping", "far", "-c", "2", "--icmp", "--size", "1200").code == 0
    assert node.asked == ("icmp", 1200)
    assert run("ping", "far", "-c", "2", "--tsmp").code == 0
    assert node.asked == ("tsmp", 0)
    assert run("ping", "far", "-c", "2").code == 0
    assert node.asked == ("disco", 0)


@pytest.mark.usefixtures("running")
def test_why_says_how_a_peer_is_reached_and_what_was_tried(run: Run) -> None:
    said = run("why", "far")

    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:2] == ["far is reached directly at 192.0.2.7:41641.", "There is nothing to fix."]
    assert lines[-1].split()[:2] == ["direct", "192.0.2.7:41641"]


@pytest.mark.usefixtures("running")
def test_why_fails_for_a_peer_that_does_not_answer_and_says_what_would_help(run: Run) -> None:
    said = run("why", "away")

    assert said.code == 1
    assert "error: away is not there." in said.out
    assert "To fix: Wait." in said.out


@pytest.mark.usefixtures("running")
def test_why_is_a_document_too(run: Run) -> None:
    (finding,) = json.loads(run("why", "away", "--json").out)["findings"]

    assert finding == {
        "code": "peer-offline",
        "text": "away is not there.",
        "fix": "Wait.",
        "level": "error",
    }


def test_a_relay_is_shown_with_our_place_there() -> None:
    relayed = replace(PEER, path="relay", endpoint="192.0.2.9:7777", vni=7, last_handshake=NOW - 5)

    assert describe_path(relayed, NOW) == "relay 192.0.2.9:7777 vni 7"


@pytest.mark.usefixtures("running")
def test_ping_of_nobody_names_it(run: Run) -> None:
    said = run("ping", "nobody")

    assert said.code == 1
    assert "'nobody'" in said.err


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("words", "out"),
    [
        ((), "100.64.0.1\nfd7a:115c:a1e0::1\n"),
        (("-4",), "100.64.0.1\n"),
        (("-6",), "fd7a:115c:a1e0::1\n"),
        (("-1",), "100.64.0.1\n"),
        (("far",), "100.64.0.2\nfd7a:115c:a1e0::2\n"),
        (("-6", "far.mesh.example."), "fd7a:115c:a1e0::2\n"),
        (("100.64.0.3",), "100.64.0.3\n"),
        (("gate",), "100.64.0.1\nfd7a:115c:a1e0::1\n"),
    ],
)
def test_ip_prints_addresses(run: Run, words: tuple[str, ...], out: str) -> None:
    said = run("ip", *words)

    assert (said.code, said.out) == (0, out)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("nobody",), 1, "'nobody'"),
        (("-6", "away"), 1, "away has no IPv6 address"),
        (("-4", "-6"), 2, "exclude each other"),
    ],
)
def test_ip_says_why_not(run: Run, words: tuple[str, ...], code: int, complaint: str) -> None:
    said = run("ip", *words)

    assert said.code == code
    assert complaint in said.err


@pytest.mark.usefixtures("daemon")
def test_ip_before_joining_says_how_to_join(run: Run) -> None:
    said = run("ip")

    assert said.code == 1
    assert "gatepost up" in said.err


@pytest.mark.usefixtures("running")
def test_plan_prints_signs_and_who_wants_it(run: Run) -> None:
    assert run("plan").out == "+ Route 10.9.0.0/16 table 52  (mesh)\n"


@pytest.mark.usefixtures("daemon")
def test_an_empty_plan_says_so(run: Run) -> None:
    said = run("plan")

    assert (said.code, said.out, said.err) == (0, "", "Nothing to change.\n")


@pytest.mark.usefixtures("daemon")
def test_explain_says_who_and_why(run: Run) -> None:
    said = run("explain", "10.9.0.0/16")

    assert said.code == 0
    assert "wanted by mesh" in said.out
    assert "because of the netmap" in said.out


@pytest.mark.usefixtures("daemon")
def test_explaining_nothing_fails(run: Run) -> None:
    said = run("explain", "192.0.2.0/24")

    assert said.code == 1
    assert "'192.0.2.0/24'" in said.err


@pytest.mark.usefixtures("daemon")
def test_netcheck_marks_the_home_region(run: Run) -> None:
    said = run("netcheck")

    assert said.code == 0
    assert "* IPv4: yes, 192.0.2.1:4242" in said.out
    assert "* Nearest DERP: Lab" in said.out
    assert "- lab: 4 ms      (Lab, home)" in said.out


@pytest.mark.usefixtures("daemon")
def test_version_prints_ours_and_the_daemons(run: Run) -> None:
    assert run("version").out == f"{__version__}\n"
    assert "capability version 130" in run("version", "--daemon").out
    document = json.loads(run("version", "--daemon", "--json").out)
    assert document["client"] == __version__
    assert document["daemon"]["capability"] == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(run: Run, shell: str) -> None:
    said = run("completion", shell)

    assert said.code == 0
    assert "_GATEPOST_COMPLETE" in said.out


def test_asking_for_the_version_starts_no_event_loop_and_no_table_library() -> None:
    code = (
        "import sys; from gatepost.cli.main import main\n"
        "try: main(['version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'asyncio', 'rich', 'msgspec', 'h11'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )

    assert said.stdout.splitlines() == [__version__, "[]"]
