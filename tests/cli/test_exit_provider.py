"""`gatepost exit-provider`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.testing.fake_node import FakeNode

pytestmark = pytest.mark.usefixtures("daemon")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Rented DE_1.conf"
    path.write_text("[Interface]\n")
    return path


def test_a_file_is_imported_under_its_name_and_used(run: Run, file: Path, node: FakeNode) -> None:
    said = run("exit-provider", "import", str(file))
    assert said.code == 0
    assert said.out.startswith("rented-de-1: de.example:51820 carries IPv4 and IPv6\n")
    assert "gatepost exit-provider use rented-de-1" in said.out

    assert run("exit-provider", "use", "rented-de-1").code == 0
    assert node.installed["exit-provider"].enabled
    shown = json.loads(run("exit-provider", "list", "--json").out)
    assert [(p["name"], p["used"]) for p in shown] == [("rented-de-1", True)]
    assert "its server has not answered yet" in run("exit-provider", "list").out


def test_the_one_in_use_is_removed_only_after_it_is_off(run: Run, file: Path) -> None:
    run("exit-provider", "import", str(file), "--name", "rented")
    run("exit-provider", "use", "rented")
    refused = run("exit-provider", "remove", "rented")

    assert refused.code == 1
    assert "gatepost exit-provider off" in refused.err
    assert run("exit-provider", "off").code == 0
    assert run("exit-provider", "remove", "rented").code == 0
    assert "exit-provider import FILE" in run("exit-provider", "list").err


def test_a_file_that_would_run_programs_is_refused_with_its_line(run: Run, file: Path) -> None:
    file.write_text("[Interface]\n\nPostUp = reboot\n")
    said = run("exit-provider", "import", str(file))

    assert said.code == 1
    assert "line 3: PostUp" in said.err


def test_standard_input_need_not_be_unicode(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.BytesIO(b"[Interface]\n# Z\xfcrich\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(piped, encoding="utf-8"))

    assert run("exit-provider", "import", "-", "--name", "rented").code == 0


def test_what_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    assert "cannot be read" in run("exit-provider", "import", str(tmp_path / "x.conf")).err
    assert "no provider was imported as 'x'" in run("exit-provider", "use", "x").err
