"""Joining, waiting, and settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.testing.fake_node import AUTH_URL, GOOD_KEY, FakeNode


def test_up_with_a_key_waits_until_the_node_runs(run: Run, daemon: FakeNode) -> None:
    said = run("up", "--login-server", "http://192.0.2.1:8080", "--auth-key", GOOD_KEY)

    assert (said.code, said.out, said.err) == (0, "", "")
    assert daemon.state == "Running"
    assert daemon.options.login_server == "http://192.0.2.1:8080"


def test_up_without_a_key_shows_where_to_sign_in_and_waits(run: Run, daemon: FakeNode) -> None:
    said = run("up")

    assert said.code == 0
    assert said.err.count(AUTH_URL) == 1
    assert said.err.endswith("Success.\n")
    assert daemon.state == "Running"


def test_up_with_json_prints_each_step(run: Run, daemon: FakeNode) -> None:
    said = run("up", "--json")
    decoder, at = json.JSONDecoder(), 0
    texts: list[tuple[str, str]] = []
    while at < len(said.out.rstrip()):
        document, at = decoder.raw_decode(said.out, at)
        texts.append((document["state"], document["auth_url"]))
        at += 1

    assert texts == [("NeedsLogin", AUTH_URL), ("Running", "")]
    assert daemon.looks > 2


def test_a_refused_key_is_an_error_with_the_reason(run: Run, daemon: FakeNode) -> None:
    said = run("up", "--auth-key", "bad-key")

    assert said.code == 1
    assert "refused the auth key" in said.err
    assert daemon.state == "NeedsLogin"


def test_a_forced_sign_in_waits_for_the_new_key(run: Run, daemon: FakeNode) -> None:
    run("up", "--auth-key", GOOD_KEY)
    said = run("up", "--force-reauth")

    assert said.code == 0
    assert AUTH_URL in said.err
    assert daemon.logins == 2


def test_up_gives_up_when_its_time_is_over(run: Run, daemon: FakeNode) -> None:
    daemon.approved_at = 1_000_000
    said = run("up", "--timeout", "30ms")

    assert said.code == 3
    assert "not running after 0.03 s" in said.err


def test_a_server_that_does_not_answer_is_said_once(run: Run, daemon: FakeNode) -> None:
    daemon.down_server = "https://mesh.example does not answer: no route to host"
    said = run("up", "--timeout", "100ms")

    assert said.code == 3
    assert said.err.count("no route to host; still trying") == 1


def test_a_key_can_come_from_a_file(run: Run, daemon: FakeNode, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{GOOD_KEY}\n")

    assert run("up", "--auth-key", f"file:{file}").code == 0
    assert daemon.state == "Running"


def test_a_key_can_come_from_the_environment(
    run: Run, daemon: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEPOST_AUTH_KEY", GOOD_KEY)

    assert run("up").code == 0
    assert daemon.state == "Running"


@pytest.mark.parametrize("text", ["", "two words", "\n"])
def test_a_file_without_one_key_is_named(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    said = run("up", "--auth-key", f"file:{file}")

    assert said.code == 1
    assert f"{file} does not hold one auth key" in said.err


def test_a_missing_key_file_is_named(run: Run, tmp_path: Path) -> None:
    said = run("up", "--auth-key", f"file:{tmp_path}/none")

    assert said.code == 1
    assert f"{tmp_path}/none" in said.err


def test_set_changes_only_what_is_given(run: Run, daemon: FakeNode) -> None:
    run("set", "--advertise-routes", "10.1.0.0/16, fd00:1::/64", "--accept-routes")
    said = run("set", "--hostname", "Gate-2")

    assert said.code == 0
    assert daemon.options.advertise_routes == ("10.1.0.0/16", "fd00:1::/64")
    assert daemon.options.accept_routes is True
    assert daemon.options.snat_subnet_routes is True
    assert daemon.options.hostname == "gate-2"


def test_a_switch_can_be_switched_off(run: Run, daemon: FakeNode) -> None:
    run("set", "--accept-routes")
    run("set", "--accept-routes=false", "--snat-subnet-routes=false")

    assert daemon.options.accept_routes is False
    assert daemon.options.snat_subnet_routes is False


def test_an_empty_list_takes_everything_back(run: Run, daemon: FakeNode) -> None:
    run("set", "--advertise-routes", "10.1.0.0/16")
    run("set", "--advertise-routes", "")

    assert daemon.options.advertise_routes == ()


def test_set_without_flags_is_a_usage_error(run: Run) -> None:
    assert run("set").code == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--advertise-routes", "10.1.2.3/16"), "did you mean 10.1.0.0/16?"),
        (("--advertise-routes", "10.0.0.0/8,lan"), "'lan' is no network"),
        (("--advertise-routes", "10.0.0.0/33"), "'10.0.0.0/33' is no network"),
        (("--relay-server-port", "70000"), "'70000' is no port; write 0 to 65535"),
        (("--relay-server-port", "-1"), "'-1' is no port"),
        (("--relay-server-static-endpoints", "203.0.113.5"), "no address with a port"),
        (("--relay-server-static-endpoints", "gate:41650"), "no address with a port"),
        (("--hostname", "a.b"), "'a.b' is no host name"),
        (("--hostname", "-a"), "'-a' is no host name"),
        (("--hostname", "x" * 64), "is no host name"),
        (("--advertise-tags", "server"), "'server' is no tag; write it like tag:server"),
        (("--login-server", "ftp://mesh.example"), "'ftp://mesh.example' is no server address"),
        (("--login-server", "nonsense"), "'nonsense' is no server address"),
        (("--login-server", "nonsense:8080"), "write https://nonsense:8080"),
        (("--login-server", ""), "'' is no server address"),
        (("--login-server", "mesh.example:99999"), "is no server address"),
        (("--login-server", "https://mesh.example/path"), "is no server address"),
        (("--accept-routes=maybe",), "'maybe' is not a valid boolean"),
        (("--timeout", "soon"), "'soon' is no duration; write it like 30s"),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_names_it(
    run: Run, words: tuple[str, ...], complaint: str
) -> None:
    said = run("up", *words)

    assert said.code == 2
    assert complaint in said.err


def test_down_and_logout_do_as_they_say(run: Run, daemon: FakeNode) -> None:
    run("up", "--auth-key", GOOD_KEY)

    codes = run("down").code, run("logout").code

    assert codes == (0, 0)
    assert daemon.state == "NeedsLogin"


def test_down_stops_and_keeps_the_sign_in(run: Run, daemon: FakeNode) -> None:
    run("up", "--auth-key", GOOD_KEY)

    assert run("down").code == 0
    assert daemon.state == "Stopped"


@pytest.mark.parametrize(("text", "port"), [("41650", 41650), ("0", 0), ("", -1)])
def test_the_port_of_a_relay_is_a_number_or_nothing(
    run: Run, daemon: FakeNode, text: str, port: int
) -> None:
    words = ("--relay-server-static-endpoints", "203.0.113.5:1,[2001:db8::5]:2")
    assert run("set", "--relay-server-port", text, *words).code == 0

    assert daemon.options.relay_server_port == port
    assert daemon.options.relay_server_static_endpoints == ("203.0.113.5:1", "[2001:db8::5]:2")


def test_an_exit_node_that_is_none_is_refused_when_the_mesh_is_known(
    run: Run, daemon: FakeNode
) -> None:
    run("up", "--auth-key", GOOD_KEY)
    said = run("set", "--exit-node", "nosuch")

    assert said.code == 1
    assert "'nosuch'" in said.err
    assert daemon.options.exit_node is None


@pytest.mark.usefixtures("daemon")
def test_an_exit_node_is_taken_with_a_warning_before_the_mesh_is_known(run: Run) -> None:
    said = run("set", "--exit-node", "nosuch")

    assert (said.code, said.out) == (0, "")
    assert "warning: this box knows of no mesh yet" in said.err
    assert "nosuch" in said.err


@pytest.mark.usefixtures("daemon")
def test_who_joins_with_an_exit_node_that_is_none_is_warned_and_in(run: Run) -> None:
    said = run("up", "--auth-key", GOOD_KEY, "--exit-node", "nosuch")
    right = run("up", "--exit-node", "far")

    assert said.code == 0
    assert "warning: no peer is called 'nosuch'; until it is, nothing goes out" in said.err
    assert (right.code, right.err) == (0, "")


def test_a_server_that_is_set_is_joined_by_up(run: Run, daemon: FakeNode) -> None:
    daemon.state = "NeedsLogin"
    said = run("set", "--login-server", "other.example")

    assert said.code == 0
    assert said.err == "https://other.example is asked only when you say so: gatepost up\n"
