"""The program tells systemd how it is, and nobody if systemd did not start it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gatepost.net.notify import Notifier


def listener(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.settimeout(5)
    return sock


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_states_arrive_at_the_notify_socket(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "notify") if kind == "path" else f"@gatepost-test-{os.getpid()}"
    with listener("\0" + path[1:] if kind == "abstract" else path) as sock:
        notifier = Notifier({"NOTIFY_SOCKET": path})
        notifier.ready("serving\nall")
        notifier.alive()
        notifier.status("busy")
        notifier.stopping()

        assert [sock.recv(999) for _ in range(4)] == [
            b"READY=1\nSTATUS=serving all",
            b"WATCHDOG=1",
            b"STATUS=busy",
            b"STOPPING=1",
        ]


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    Notifier({}).ready()


def test_a_socket_that_is_gone_does_not_stop_the_program(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_needed(
    environment: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environment).watchdog_interval == interval
