"""Say a WireGuard handshake again before WireGuard itself would.

WireGuard repeats a lost initiation after 5 seconds, which is how long a first
connection takes when the other side was told of us a moment too late. While a
peer is reached through DERP its packets pass through our hands, so we keep the
last initiation and repeat it a few times, and once more when a direct path is
found. The receiver drops copies by the time stamp inside (WireGuard
white paper, section 5.4.2), so a superfluous one is harmless.
"""

from __future__ import annotations

_INITIATION, _RESPONSE, _TRANSPORT = 1, 2, 4
_INITIATION_LENGTH = 148
_AGAIN = (0.25, 0.5, 1.0, 1.5)  # seconds, each after the one before


class Handshake:
    """The initiation of one peer that may have been lost."""

    __slots__ = ("_at", "_packet", "_tries")

    def __init__(self) -> None:
        self._packet: bytes | None = None
        self._tries = 0
        self._at = 0.0

    @property
    def timer(self) -> float | None:
        """When to call `due`, or None."""
        return None if self._packet is None else self._at

    def on_outbound(self, packet: bytes, now: float) -> None:
        """Note a packet that WireGuard sends; anything but an initiation ends the wait."""
        if packet[:1] == b"\x01" and len(packet) == _INITIATION_LENGTH:
            self._packet, self._tries, self._at = packet, 0, now + _AGAIN[0]
        else:
            self._packet = None

    def on_inbound(self, packet: bytes) -> None:
        """Note a packet from the peer; a response or traffic means that it was heard."""
        if packet[:1] in (bytes((_RESPONSE,)), bytes((_TRANSPORT,))):
            self._packet = None

    def waiting(self) -> bytes | None:
        """Return the initiation that nobody is known to have heard."""
        return self._packet

    def due(self, now: float) -> bytes | None:
        """Return what to send again now, if anything, and set the next time."""
        packet = self._packet
        if packet is None or now < self._at:
            return None
        self._tries += 1
        if self._tries < len(_AGAIN):
            self._at = now + _AGAIN[self._tries]
        else:
            self._packet = None
        return packet
