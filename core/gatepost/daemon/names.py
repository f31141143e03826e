"""The box's resolver: built once, and given the plan that follows from each round."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gatepost.model.resolver import HostServers, NameView
from gatepost.model.resource import Resource
from gatepost.net.dns_resolver import Desk, Resolver
from gatepost.net.dns_upstream import Upstreams
from gatepost.sessions.dns_plan import join_names


class BoxNames:
    """What answers names here, whoever asks. `close` it.

    `host` says how this machine would resolve names without us: who is asked when
    nobody else is named.
    """

    def __init__(self, now: Callable[[], float], host: Callable[[], HostServers]) -> None:
        self._host = host
        self._upstreams = Upstreams(now, lambda: host().servers)
        self.resolver = Resolver(self._upstreams.ask, now)

    def replace(self, resources: Iterable[Resource]) -> None:
        """Answer as these resources say from now on."""
        self.resolver.set_plan(join_names(resources, self._host()))

    def desk(self, view: NameView) -> Desk:
        """Return where people of one kind ask."""
        return self.resolver.desk(view)

    async def close(self) -> None:
        await self.resolver.close()
        await self._upstreams.close()
