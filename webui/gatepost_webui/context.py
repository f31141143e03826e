"""What the views of one application share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from gatepost.localapi.client import NodeClient
from gatepost_webui.limiter import Limiter
from gatepost_webui.passwords import Passwords
from gatepost_webui.sessions import Sessions

KEY = "gatepost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """`now` is seconds since 1970, `ticks` seconds of a clock that only goes forward."""

    node: NodeClient
    passwords: Passwords
    sessions: Sessions
    limiter: Limiter
    now: Callable[[], float]
    ticks: Callable[[], float]


def web() -> Web:
    """Return the context of the application that handles this request."""
    found = current_app.extensions[KEY]
    if not isinstance(found, Web):
        raise TypeError(f"extension {KEY!r} is not ours")
    return found
