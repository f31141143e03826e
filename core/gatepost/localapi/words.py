"""Sizes, times and paths in words: the same ones on the command line and on the web page.

Moments and `now` are seconds since 1970.
"""

from __future__ import annotations

from gatepost.model.status import PeerDocument, SelfDocument

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0  # seconds
_ALIVE = 185.0  # seconds after the last handshake: WireGuard's REJECT_AFTER_TIME and a little


def size(octets: int) -> str:
    """Say a number of octets in at most seven characters: "12 B", "1.5 MiB"."""
    if octets < _STEP:
        return f"{octets} B"
    value, unit = float(octets), 0
    while value >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        value /= _STEP
        unit += 1
    return f"{value:.3g} {_UNITS[unit]}"


def age(seconds: float) -> str:
    """Say a length of time in one unit: "12s", "3m", "5h", "2d"."""
    if seconds < _MINUTE:
        return f"{max(seconds, 0):.0f}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f}m"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f}h"
    return f"{seconds // _DAY:.0f}d"


def ago(moment: float | None, now: float) -> str:
    return "never" if moment is None else f"{age(now - moment)} ago"


def until(moment: float | None, now: float) -> str:
    if moment is None:
        return "never"
    return f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} ago"


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"


def short_name(name: str, me: SelfDocument | None) -> str:
    """Say a node's name as this node would: the label alone when the suffix is its own, too.

    The domain of the network is no measure: other servers put an address there, or a user.
    """
    label, _, suffix = name.partition(".")
    return label if me is not None and suffix == me.name.partition(".")[2] else name


def is_active(peer: PeerDocument, now: float) -> bool:
    return peer.last_handshake is not None and now - peer.last_handshake < _ALIVE


def describe_path(peer: PeerDocument, now: float) -> str:
    """Say how packets get to a peer.

    "direct 1.2.3.4:5", "relay 1.2.3.4:5 vni 7", "derp lab", "idle", "offline …".
    """
    if peer.expired:
        return "expired"
    if peer.online is False and not is_active(peer, now):
        return f"offline, seen {ago(peer.last_seen, now)}" if peer.last_seen else "offline"
    if not is_active(peer, now):
        return "idle"
    if peer.path == "none":
        return "no path"
    over = {
        "direct": peer.endpoint,
        "relay": f"{peer.endpoint} vni {peer.vni}",
        "derp": peer.relay,
    }[peer.path]
    return f"{peer.path} {over}".rstrip()
