"""An official Tailscale client on the machine of a lab's box, in place of Gatepost.

Its programs are not part of this project: GATEPOST_OFFICIAL names a directory
that has `tailscale` and `tailscaled`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.netns import Machine

VARIABLE = "GATEPOST_OFFICIAL"
NEEDED = ("tailscale", "tailscaled")
READY = 20.0  # seconds
# It reports to nobody, asks no router for ports, and uses the nftables that every lab has.
_ENVIRONMENT = {
    "TS_NO_LOGS_NO_SUPPORT": "true",
    "TS_DISABLE_PORTMAPPER": "1",
    "TS_DEBUG_FIREWALL_MODE": "nftables",
}


class _Self(msgspec.Struct, rename="pascal"):
    addresses: tuple[str, ...] = msgspec.field(default=(), name="TailscaleIPs")


class _Peer(msgspec.Struct, rename="pascal"):
    host_name: str
    cur_addr: str = ""


class Standing(msgspec.Struct, rename="pascal"):
    """What we read of `tailscale status --json`. Without a netmap there are no peers."""

    backend_state: str
    this: _Self = msgspec.field(default_factory=_Self, name="Self")
    peer: dict[str, _Peer] | None = None


def why_not() -> str:
    """Return why there is no official client here; "" if there is one."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"{VARIABLE} names no directory with an official client's programs"
    missing = [name for name in NEEDED if not (Path(folder) / name).is_file()]
    return f"{folder} has no {' and no '.join(missing)}" if missing else ""


@dataclass(frozen=True, slots=True)
class OfficialClient:
    """One client; `start` first. Its files are below `home`."""

    machine: Machine
    name: str
    home: Path

    def start(self) -> None:
        """Start the daemon, which ends with the machine."""
        self.home.mkdir()
        with (self.home / "tailscaled.log").open("w") as output:
            self.machine.start(
                *(_program("tailscaled"), "--tun=ts0"),
                *(f"--state={self.home}/state", f"--statedir={self.home}"),
                f"--socket={self._socket}",
                output=output,
                environment=_ENVIRONMENT,
            )
        wait_for(lambda: self._socket.exists() or None, seconds=READY, otherwise=self.log)

    def up(self, server: str, key: str) -> None:
        """Join; return when it runs. It leaves the machine's names alone."""
        self.command(
            *("up", f"--login-server={server}", f"--auth-key={key}", f"--hostname={self.name}"),
            *("--accept-dns=false", "--accept-routes"),
        )

    def command(self, *words: str) -> str:
        return self.machine.run(_program("tailscale"), f"--socket={self._socket}", *words)

    def standing(self) -> Standing:
        return msgspec.json.decode(self.command("status", "--json"), type=Standing)

    @property
    def mesh_v4(self) -> str:
        return next(a for a in self.standing().this.addresses if ":" not in a)

    def address_of(self, box: Box) -> str:
        """Return where it sends directly to a box; "" if it goes through a relay."""
        peers = (self.standing().peer or {}).values()
        return next(p.cur_addr for p in peers if p.host_name == box.name)

    def log(self) -> str:
        return (self.home / "tailscaled.log").read_text(errors="replace")[-2000:]

    @property
    def _socket(self) -> Path:
        return self.home / "tailscaled.sock"


def _program(name: str) -> str:
    return str(Path(os.environ[VARIABLE]) / name)
