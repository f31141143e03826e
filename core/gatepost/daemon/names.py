"""The box's resolver: built once, and given the plan that follows from each round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from gatepost.daemon.host_names import watch_file
from gatepost.linux.resolv import HostResolvers
from gatepost.model.resolver import HostServers, NameView
from gatepost.model.resource import Resource
from gatepost.net.dns_resolver import Desk, Resolver
from gatepost.net.dns_upstream import Upstreams
from gatepost.sessions.dns_plan import join_names

log = logging.getLogger(__name__)


class BoxNames:
    """What answers names here, whoever asks. `close` it.

    `servers` says how this machine would resolve names without us: who is asked when
    nobody else is named. `host` lets this machine itself ask here.
    """

    def __init__(
        self,
        now: Callable[[], float],
        servers: Callable[[], HostServers],
        host: HostResolvers,
    ) -> None:
        self._servers = servers
        self.host = host
        self._upstreams = Upstreams(now, lambda: servers().servers)
        self.resolver = Resolver(self._upstreams.ask, now)

    def replace(self, resources: Iterable[Resource]) -> None:
        """Answer as these resources say from now on."""
        self.resolver.set_plan(join_names(resources, self._servers()))

    def desk(self, view: NameView) -> Desk:
        """Return where people of one kind ask."""
        return self.resolver.desk(view)

    async def watch_host(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` when somebody wrote the file that says whom to ask; for ever."""
        await watch_file(self.host.path, on_change)

    async def give_back(self) -> None:
        """Let this machine ask whom it asked before; log what goes wrong."""
        try:
            await self.host.clean_up()
        except OSError as error:
            log.error("the names of this machine: %s", error)  # noqa: TRY400  # says it all

    async def close(self) -> None:
        await self.give_back()
        await self.resolver.close()
        await self._upstreams.close()
