"""`./run` as somebody uses it: it proves that sites talk, stays, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.mesh]

LAB = (sys.executable, "-m", "gatepost.testing.lab")
PATIENCE = 60.0  # seconds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a temporary directory of our own, so that other labs on this machine do not count."""
    with tempfile.TemporaryDirectory(prefix="lab") as short:  # Unix sockets: 107 octets
        monkeypatch.setenv("TMPDIR", short)
        yield Path(short)
    assert tmp_path.exists()


def test_once_prints_one_document_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run((*LAB, "--once", "--json"), capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert document["works"] is True
    assert len(document["pairs"]) == 12
    assert all(pair["round_trip"] for pair in document["pairs"])
    assert document["throughput"]["rate"] > 1
    assert set(document["wireguard"]) == {"box-a", "box-b", "box-c"}
    assert document["versions"]["gatepost"]
    assert list(folder.iterdir()) == []


@contextmanager
def running(*command: str) -> Generator[subprocess.Popen[str]]:
    """Run the lab; if the test fails it is taken down all the same."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        try:
            yield lab
        finally:
            lab.terminate()


def test_it_stays_for_a_second_terminal_until_ctrl_c(folder: Path) -> None:
    # As a shell starts it in the background, where nobody hears Ctrl-C by itself.
    with running("env", "--ignore-signal=INT", *LAB) as lab:
        text = read_until(lab, "Ctrl-C ends the lab")
        urls = re.findall(r"http://[\d.]+:\d+/", text)
        page = urllib.request.urlopen(urls[0], timeout=10).read().decode()  # noqa: S310  # our own page
        inside = (*LAB, "in", "box-b", "gatepost", "status", "--json")
        status = subprocess.run(inside, capture_output=True, text=True, check=True)
        lab.send_signal(signal.SIGINT)
        code = lab.wait(timeout=PATIENCE)

    assert len(urls) == 3
    assert "Gatepost" in page
    assert json.loads(status.stdout)["state"] == "Running"
    assert code == 128 + signal.SIGINT
    assert list(folder.iterdir()) == []


def test_what_a_killed_lab_leaves_is_found_and_removed(folder: Path) -> None:
    with running(*LAB) as lab:
        read_until(lab, "pinging")
        lab.kill()
    left = list(folder.iterdir())
    cleaned = subprocess.run((*LAB, "clean"), capture_output=True, text=True, check=True)

    assert len(left) == 1
    assert cleaned.stdout == f"removed {left[0]}\n"
    assert list(folder.iterdir()) == []


def read_until(lab: subprocess.Popen[str], last: str) -> str:
    """Return the lab's output up to a line that starts with `last`."""
    assert lab.stdout is not None
    text, deadline = "", time.monotonic() + PATIENCE
    for line in lab.stdout:
        text += line
        if line.startswith(last):
            return text
        assert time.monotonic() < deadline, text
    raise AssertionError(text)
