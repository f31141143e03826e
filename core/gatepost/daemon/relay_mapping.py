"""Asks the router to forward the port of the relay that this node runs for others, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gatepost.model.netmap import Endpoint


class PortKeeper(Protocol):
    """What keeps one port mapped: `net.portmap.PortMapping`."""

    def use(self, *, on: bool, upnp: bool = True) -> None: ...
    def endpoints(self) -> tuple[Endpoint, ...]: ...
    async def close(self) -> None: ...


MakeKeeper = Callable[[int, Callable[[], None]], PortKeeper]


class RelayMapping:
    """The mapping of one port that may change. `make` gets the port and what to call with news.

    `on_change` hears when `endpoints` changed; it may not wait.
    """

    def __init__(self, make: MakeKeeper) -> None:
        self._make = make
        self._keeper: PortKeeper | None = None
        self._former: list[PortKeeper] = []  # that may still be giving their ports back
        self._port = 0
        self._is_on = self._upnp = False
        self.on_change: Callable[[], None] = _nothing

    def use(self, *, on: bool, upnp: bool) -> None:
        """Map the port if there is one, or give it back; look again which routers there are."""
        self._is_on, self._upnp = on, upnp
        if self._keeper is not None:
            self._keeper.use(on=on, upnp=upnp)

    def set_port(self, port: int) -> None:
        """Take the port of the relay that runs now; 0 when none is wanted any more."""
        if port == self._port:
            return
        self._port = port
        if self._keeper is not None:
            self._keeper.use(on=False)
            self._former.append(self._keeper)
        self._keeper = self._make(port, self._changed) if port else None
        self.use(on=self._is_on, upnp=self._upnp)
        self.on_change()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where the internet reaches the relay's port, by all routers."""
        return self._keeper.endpoints() if self._keeper is not None else ()

    async def close(self) -> None:
        """Stop, and leave the mapping: the kernel relays on."""
        for keeper in (*self._former, self._keeper):
            if keeper is not None:
                await keeper.close()

    def _changed(self) -> None:
        self.on_change()


def _nothing() -> None:
    """Be called before anybody wants to know."""
