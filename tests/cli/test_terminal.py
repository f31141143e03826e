"""Colours on a terminal, and what the web page's code needs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.testing.fake_node import FakeNode

_RUN = "from gatepost.cli.main import main; main()"


def on_a_terminal(tmp_path: Path, *words: str, **environment: str) -> str:
    """Run the program with a terminal as its output and return what it wrote there."""
    ours, theirs = pty.openpty()
    values = {**os.environ, "GATEPOST_SOCKET": str(tmp_path / "node.sock"), **environment}
    if "NO_COLOR" not in environment:
        values.pop("NO_COLOR", None)
    command = [sys.executable, "-c", _RUN, *words]
    subprocess.run(command, stdout=theirs, env=values, check=False, timeout=30)
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    return said


@pytest.mark.usefixtures("daemon")
def test_a_terminal_gets_colours(tmp_path: Path) -> None:
    assert "\x1b[32m" in on_a_terminal(tmp_path, "plugin", "list")


@pytest.mark.usefixtures("daemon")
def test_who_wants_no_colours_gets_none(tmp_path: Path) -> None:
    assert "\x1b" not in on_a_terminal(tmp_path, "plugin", "list", NO_COLOR="1")


@pytest.mark.usefixtures("daemon")
def test_a_pipe_gets_no_colours(run: Run, daemon: FakeNode) -> None:
    assert daemon.state == "Stopped"
    assert "\x1b" not in run("plugin", "list").out


def test_columns_line_up_with_colours_too(tmp_path: Path) -> None:
    code = (
        "import click; from gatepost.cli.output import say_table\n"
        "say_table(('A', 'B'), [(click.style('x', fg='red'), '1'), ('long', '2')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert said.stdout.splitlines() == ["A     B", "x     1", "long  2"]


def test_the_web_pages_code_is_printed_for_who_may_read_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "setup-code").write_text("abcd-efgh\n")

    assert run("web-setup-code", "--state-directory", str(tmp_path)).out == "abcd-efgh\n"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [((), "the web page has not been started"), (("password",), "has its password already")],
)
def test_without_a_code_it_says_why(
    run: Run, tmp_path: Path, files: tuple[str, ...], complaint: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    said = run("web-setup-code", "--state-directory", str(tmp_path))

    assert said.code == 1
    assert complaint in said.err
