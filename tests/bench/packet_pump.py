"""Sends UDP packets as fast as the kernel takes them, from Python: sendmmsg by ctypes.

What is sent is laid out once; a call sends up to 64 packets, or 64 batches, without
any Python in between, so that a benchmark measures the path and not the sender.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Sequence

MOST, MOST_BATCHES = 64, 8  # messages a call
_SOL_UDP, _UDP_SEGMENT = 17, 103
_SO_SNDBUFFORCE = 32
_SEND_BUFFER = 4 << 20  # bytes


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),  # to the end of `struct msghdr`
        ("sent", ctypes.c_uint32),
    )


class Pump:
    """Sends the same packets again and again through a connected socket.

    `segment` over 0 makes each message a batch of packets of so many bytes.
    """

    def __init__(
        self, sender: socket.socket, messages: Sequence[bytes], *, segment: int = 0
    ) -> None:
        sender.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER)
        if segment:
            sender.setsockopt(_SOL_UDP, _UDP_SEGMENT, segment)
        self._step = min(MOST_BATCHES if segment else MOST, len(messages))
        self._descriptor = sender.fileno()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._kept = [ctypes.create_string_buffer(m, len(m)) for m in messages]
        self._parts = (_Part * len(messages))()
        self._messages = (_Message * len(messages))()
        for part, message, text in zip(self._parts, self._messages, self._kept, strict=True):
            part.base, part.length = ctypes.addressof(text), ctypes.sizeof(text)
            message.parts, message.part_count = ctypes.pointer(part), 1

    def run(self, seconds: float) -> float:
        """Send for so long, return how long it was; raise `OSError` for what is no full queue."""
        began = time.monotonic()
        end = began + seconds
        step, size = self._step, ctypes.sizeof(_Message)
        start, first = 0, ctypes.addressof(self._messages)
        while time.monotonic() < end:
            here = ctypes.c_void_p(first + start * size)
            if self._libc.sendmmsg(self._descriptor, here, step, 0) < 0:
                code = ctypes.get_errno()
                if code not in {11, 105, 111}:  # EAGAIN, ENOBUFS, ECONNREFUSED
                    raise OSError(code, os.strerror(code))
            start = (start + step) % (len(self._kept) - step + 1)
        return time.monotonic() - began
