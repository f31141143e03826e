"""The web pages of the lab's boxes, where a browser on this machine can open them.

Each page is a client of its box's local socket, so it may run outside the
box. It gets a loopback address of its own: cookies know hosts, not ports, and
three boxes on one address would sign each other out.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from gatepost.testing.lab_boxes import PROGRAMS, Box, wait_for
from gatepost.testing.netns import LabError

PORT = 8088  # TCP; another one where it is taken
START_TIMEOUT = 15.0  # seconds
STOP_TIMEOUT = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class Page:
    """`setup_code` is asked for before the first password."""

    box: Box
    url: str
    setup_code: str


@contextlib.contextmanager
def pages(boxes: Iterable[Box]) -> Generator[tuple[Page, ...]]:
    """Serve a page for each box for the length of a block; raise LabError when one fails."""
    with contextlib.ExitStack() as stack:
        started = [(box, stack.enter_context(_serve(box))) for box in boxes]
        yield tuple(_await_page(box, *address) for box, address in started)


@contextlib.contextmanager
def _serve(box: Box) -> Generator[tuple[str, int]]:
    host = f"127.0.1.{box.site.number}"
    port = _free_port(host)
    state = box.directory / "web"
    state.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "GATEPOST_SOCKET": str(box.socket),
        "GATEPOST_WEB_STATE": str(state),
        "GATEPOST_WEB_BIND": f"{host}:{port}",
    }
    server = (str(PROGRAMS / "gunicorn"), "--config", "python:gatepost_webui.gunicorn_conf")
    with (box.directory / "gunicorn.log").open("a") as log:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "TERM", *server),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield host, port
    finally:
        process.terminate()
        process.wait(timeout=STOP_TIMEOUT)


def _free_port(host: str) -> int:
    for port in (PORT, 0):
        try:
            with socket.create_server((host, port)) as server:
                return int(server.getsockname()[1])
        except OSError:
            continue
    raise LabError(f"no free TCP port on {host}")


def _await_page(box: Box, host: str, port: int) -> Page:
    code = box.directory / "web" / "setup-code"

    def look() -> bool | None:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return None
        return code.exists() or None

    wait_for(
        look,
        seconds=START_TIMEOUT,
        otherwise=lambda: (
            f"the web page of {box.name} does not answer:\n"
            f"{(box.directory / 'gunicorn.log').read_text()[-2000:]}"
        ),
    )
    return Page(box, f"http://{host}:{port}/", code.read_text().strip())
