"""Choose among several DERP connections with one node key.

It happens for a moment when a node changes networks, and for good when a disk
was cloned. The connection that spoke last is the active one. When an earlier
one speaks again after it was superseded, two machines share the key: both are
told (Health), packets go on to whoever spoke last. Cutting both off was
refused: an unlucky reconnect would silence a healthy node.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

PROBLEM = (
    "Another machine is connected with this node's key. Was its disk or state copied? "
    "Log one of them out and in again."
)


class Duplicates(Generic[T]):
    """The connections of one key, while there are several. The newest starts as the active one."""

    __slots__ = ("_members", "_spoke", "active", "fighting")

    def __init__(self, earlier: T, newest: T) -> None:
        self._members = [earlier, newest]
        self._spoke = [earlier]
        self.active = newest
        self.fighting = False

    @property
    def members(self) -> tuple[T, ...]:
        """All connections, the oldest first."""
        return tuple(self._members)

    def join(self, newest: T) -> None:
        self._members.append(newest)
        self.active = newest

    def speak(self, member: T) -> bool:
        """Note that `member` sent something; return whether this is what started a fight."""
        self.active = member
        if self.fighting or self._spoke[-1] is member:
            return False
        self.fighting = any(earlier is member for earlier in self._spoke)
        self._spoke.append(member)
        return self.fighting

    def leave(self, member: T) -> None:
        """Forget a connection; the last that spoke, else the newest, is active after it."""
        self._members = [m for m in self._members if m is not member]
        self._spoke = [m for m in self._spoke if m is not member] or self._members[-1:]
        if self.active is member and self._members:
            self.active = self._spoke[-1]
