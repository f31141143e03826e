"""Tells systemd how the program is (sd_notify), if systemd started it. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to `$NOTIFY_SOCKET`; does nothing when that is not set."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take the process's environment."""
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ and addressed with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(microseconds) / 1e6 if own and microseconds.isdigit() else 0.0

    @property
    def watchdog_interval(self) -> float | None:
        """How often to call `alive`, in seconds: half of what systemd allows; None: never."""
        return self._watchdog / 2 or None

    def ready(self, status: str = "") -> None:
        """Say that the program has started; `status` is shown by `systemctl status`."""
        self._send("READY=1", f"STATUS={status}" if status else "")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        """Send one datagram; a systemd that does not listen is no reason to fail."""
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines if line)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(text.encode(), self._address)
            except OSError:
                return  # logged nowhere: the journal shows the missing READY itself
