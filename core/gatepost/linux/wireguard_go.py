"""WireGuard in user space: starts wireguard-go and talks to its socket.

The process belongs to no daemon: it gets a session of its own and goes into the
background itself, so a daemon that is killed, upgraded or crashes leaves it, the
device and every tunnel as they are, and the next daemon finds them by the socket.
It stays in the cgroup of the unit that started it, therefore the unit says
`KillMode=process`; systemd then names it as left over at the next start, which is
what is wanted. Its log is a file and never a pipe: a Go program ends when it
writes to a pipe that nobody reads any more.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from gatepost.errors import Malformed
from gatepost.linux import uapi
from gatepost.linux.receive_queues import spread_receiving
from gatepost.linux.wireguard_state import BackendName, DeviceState, DeviceUpdate, PeerUpdate

log = logging.getLogger(__name__)

PROGRAM = Path("/usr/bin/wireguard-go")
SOCKETS = Path("/var/run/wireguard")  # fixed by the program
START_TIMEOUT = 10.0  # seconds until it has made the device and the socket
END_TIMEOUT = 5.0  # seconds; it ends some milliseconds after its device
END_POLL = 0.02  # seconds
ANSWER_TIMEOUT = 10.0  # seconds for one transaction
LONGEST_ANSWER = 64 << 20  # bytes; 10,000 peers need about 4 MiB
LONGEST_LOG = 1 << 20  # bytes; over that it starts again from nothing


class GoBackend:
    """wireguard-go, one process per device. `log` is where it writes errors; None discards them."""

    name: BackendName = "wireguard-go"

    def __init__(
        self, log: Path | None = None, program: Path = PROGRAM, sockets: Path = SOCKETS
    ) -> None:
        self._log = log
        self._program = program
        self._sockets = sockets

    def _socket(self, device: str) -> Path:
        return self._sockets / f"{device}.sock"

    async def owns(self, device: str, kind: str) -> bool:
        """Take a TUN device with a live socket of its name for wireguard-go's."""
        return kind == "tun" and await self._answers(device)

    async def _answers(self, device: str) -> bool:
        if not _is_socket(self._socket(device)):
            return False
        try:
            _, writer = await asyncio.open_unix_connection(self._socket(device))
        except (ConnectionError, FileNotFoundError):
            return False
        writer.close()
        return True

    async def create(self, device: str) -> None:
        """Start the program and wait for its socket; it outlives us, see the module."""
        await self._await_predecessor(device)
        if not self._program.exists():
            raise OSError(
                errno.ENOENT,
                f"the kernel has no WireGuard and {self._program} does not exist: "
                "`apt install wireguard-go`, or a kernel with WireGuard",
            )
        output = self._open_log()
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                device,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env={"LOG_LEVEL": "error", "PATH": os.defpath},
            )
        finally:
            if output != asyncio.subprocess.DEVNULL:
                os.close(output)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                # This is the end of the first process: with device and socket made, it
                # leaves them to a child in the background.
                code = await process.wait()
        except TimeoutError as error:
            process.kill()
            text = f"wireguard-go {device} did not start within {START_TIMEOUT} s{self._why()}"
            raise TimeoutError(errno.ETIMEDOUT, text) from error
        if code or not await self.owns(device, "tun"):
            raise OSError(errno.EIO, f"wireguard-go {device} ended with {code}{self._why()}")
        try:
            await asyncio.to_thread(spread_receiving, device, os.cpu_count() or 1)
        except OSError as error:  # slower, and nothing else
            log.warning("%s: one processor takes in all packets: %s", device, error)

    async def _await_predecessor(self, device: str) -> None:
        """Wait for the end of a process whose device was deleted: it still holds the socket."""
        try:
            async with asyncio.timeout(END_TIMEOUT):
                while await self._answers(device):  # noqa: ASYNC110  # nothing tells us
                    await asyncio.sleep(END_POLL)
        except TimeoutError as error:
            text = (
                f"a wireguard-go still answers on {self._socket(device)}, without {device} here: "
                "end it, if it is not that of another network namespace"
            )
            raise TimeoutError(errno.ETIMEDOUT, text) from error

    def _open_log(self) -> int:
        if self._log is None:
            return asyncio.subprocess.DEVNULL
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._log, flags, 0o600)

    def _why(self) -> str:
        if self._log is None:
            return ""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    async def read(self, device: str) -> DeviceState:
        self._trim_log()
        return await self._talk(device, uapi.GET)

    async def write(self, device: str, update: DeviceUpdate, peers: Sequence[PeerUpdate]) -> None:
        if update or peers:
            await self._talk(device, uapi.write_set(update, peers))

    def _trim_log(self) -> None:
        if self._log is not None and self._log.exists() and self._log.stat().st_size > LONGEST_LOG:
            os.truncate(self._log, 0)  # opened to append, so the program goes on at the start

    async def _talk(self, device: str, request: bytes) -> DeviceState:
        """Do one transaction on a connection of its own."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                answer = await self._exchange(device, request)
            code, state = await asyncio.to_thread(uapi.read_answer, answer)
        except TimeoutError as error:
            text = f"wireguard-go {device} did not answer within {ANSWER_TIMEOUT} s"
            raise TimeoutError(errno.ETIMEDOUT, text) from error
        except (Malformed, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            raise OSError(errno.EPROTO, f"wireguard-go {device}: {error}") from error
        if code:
            raise OSError(code, f"wireguard-go {device}: {os.strerror(code)}")
        return state

    async def _exchange(self, device: str, request: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(
                self._socket(device), limit=LONGEST_ANSWER
            )
        except ConnectionRefusedError as error:
            # The process died and left its socket behind.
            raise FileNotFoundError(errno.ENOENT, f"no wireguard-go for {device}") from error
        try:
            writer.write(request)
            await writer.drain()
            return await reader.readuntil(uapi.END)
        finally:
            writer.close()


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return False
