"""What a relay server asks of the kernel's packet path, and what it tells about itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from gatepost.sessions.relay_server import Flow, Onward


@dataclass(frozen=True, slots=True)
class Count:
    """What one flow has carried since it was put: packets, and bytes of UDP payload."""

    packets: int
    octets: int


class Forwarder(Protocol):
    """The kernel's table of flows; `linux.relay_forwarder.KernelForwarder` is one.

    Raises `OSError` when the kernel refuses.
    """

    @property
    def trouble(self) -> str:
        """Why the kernel does not forward; nothing if it does."""
        ...

    async def look(self) -> bool:
        """Find the table; True if it is another one than before, without our flows."""
        ...

    async def put(self, flows: Mapping[Flow, Onward]) -> None:
        """Forward these flows; those that the kernel cannot (IPv4 to IPv6) are left out."""
        ...

    async def drop(self, flows: Collection[Flow]) -> None:
        """Forward these flows no more."""
        ...

    async def counts(self) -> Mapping[Flow, Count]:
        """Return every flow in the table, of an earlier run too."""
        ...

    async def close(self) -> None:
        """Let go of the table; its flows stay."""
        ...


class NoForwarder:
    """There is no kernel table: everything passes through user space."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble

    async def look(self) -> bool:
        return False

    async def put(self, flows: Mapping[Flow, Onward]) -> None:
        """Do nothing."""

    async def drop(self, flows: Collection[Flow]) -> None:
        """Do nothing."""

    async def counts(self) -> Mapping[Flow, Count]:
        return {}

    async def close(self) -> None:
        """Do nothing."""
