"""What the shell offers after Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from tests.cli.conftest import Run

from gatepost.cli.main import cli
from gatepost.testing.fake_node import GOOD_KEY, FakeNode


def offered(*words: str) -> list[str]:
    """Return what is offered for the last word."""
    shell = ShellComplete(cli, {}, "gatepost", "_GATEPOST_COMPLETE")
    return [item.value for item in shell.get_completions([*words[:-1]], words[-1])]


@pytest.mark.usefixtures("run", "daemon")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("adm",), ["admin"]),
        (("plugin", "set", ""), ["mesh", "subnet-router", "plain-wireguard", "exit-provider"]),
        (("plugin", "enable", "sub"), ["subnet-router"]),
        (("plugin", "set", "subnet-router", "m"), ["masquerade=", "metric=", "mode="]),
        (("plugin", "set", "subnet-router", "metric=1", "net"), ["networks="]),
        (("plugin", "set", "nothing", ""), []),
    ],
)
def test_words_are_offered(words: tuple[str, ...], names: list[str]) -> None:
    assert offered(*words) == names


@pytest.mark.parametrize("command", ["ping", "ip"])
def test_peers_are_offered_by_their_short_names(run: Run, daemon: FakeNode, command: str) -> None:
    run("up", "--auth-key", GOOD_KEY)

    assert daemon.state == "Running"
    assert offered(command, "") == ["far", "away"]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "words", [("plugin", "set", ""), ("ping", ""), ("admin", "nodes", "delete", "")]
)
def test_where_nobody_answers_nothing_is_offered(words: tuple[str, ...]) -> None:
    assert offered(*words) == []


@pytest.mark.usefixtures("daemon")
def test_a_socket_named_before_is_the_one_asked(run: Run, tmp_path: Path) -> None:
    assert run("version").code == 0
    assert offered("--socket", str(tmp_path / "none"), "plugin", "set", "") == []
    assert offered("--socket", str(tmp_path / "node.sock"), "plugin", "set", "m") == ["mesh"]


def test_bash_itself_completes_a_command(run: Run, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    program = tmp_path / "gatepost"
    main = "from gatepost.cli.main import main; main()"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{main}" "$@"\n')
    program.chmod(0o755)
    script = run("completion", "bash").out
    pressed = (
        "COMP_WORDS=(gatepost adm); COMP_CWORD=1; _gatepost_completion gatepost\n"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "-c", f"{script}\n{pressed}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert done.stdout == "admin\n"
    assert "compopt -o nospace" in script  # KEY= is not the end of a word
