"""Open sockets inside a machine of the test bed, to be used from the test itself."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gatepost.testing.netns import Machine

T = TypeVar("T")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_C = ctypes.CDLL(None, use_errno=True)


def inside(machine: Machine, act: Callable[[], T]) -> T:
    """Run `act` in a thread of its own that has entered the machine's network."""

    def enter() -> T:
        space = os.open(f"/proc/{machine.process_id}/ns/net", os.O_RDONLY)
        try:
            if _C.setns(space, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "cannot enter the machine's network")
        finally:
            os.close(space)
        return act()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(enter).result(timeout=10)


def udp_socket(machine: Machine, address: str, port: int) -> socket.socket:
    """Return a bound UDP socket of the machine; it waits a second for a packet."""

    def bind() -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.settimeout(0.5)
        return made

    return inside(machine, bind)
