"""Asks name servers: the one that is not known to be late first, the next when it is.

ask_plain   UDP, and TCP for what is cut                 `dns_plain`
TlsServers  DNS over TLS, one connection for each        `dns_tls`
HttpServers DNS over HTTP and HTTPS                      `dns_https`
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.rcode

from gatepost.errors import GatepostError
from gatepost.model.names import Address, NameServer
from gatepost.net.dns_https import HttpServers
from gatepost.net.dns_plain import ask_plain
from gatepost.net.dns_tls import TlsServers
from gatepost.sessions.dns_messages import Message, Query, address_query, addresses_in

log = logging.getLogger(__name__)

HEAD_START = 0.8  # seconds before the next server is asked, too
PATIENCE = 4.5  # seconds for all servers together; stub resolvers wait five
ROUNDS = 2  # times that every server is asked: packets get lost
LATE_FOR = 30.0  # seconds in which a server that was late is asked after the others
MOST_KNOWN = 64  # hosts whose addresses are kept, and servers that are known to be late
HOST_FOR = 300.0  # seconds that the addresses of a server's host are kept
_FINAL = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


@dataclass(slots=True)
class Upstreams:
    """Asks servers and remembers which are late. `close` it.

    `first` gives the servers with plain addresses that are asked where another
    server's host is.
    """

    now: Callable[[], float]
    first: Callable[[], tuple[NameServer, ...]] = tuple
    tls: TlsServers = field(default_factory=TlsServers)
    http: HttpServers = field(default_factory=HttpServers)
    _late: dict[NameServer, float] = field(default_factory=dict[NameServer, float])
    _hosts: dict[str, tuple[tuple[Address, ...], float]] = field(
        default_factory=dict[str, tuple[tuple[Address, ...], float]]
    )

    async def close(self) -> None:
        await self.tls.close()
        await self.http.close()

    async def ask(self, servers: tuple[NameServer, ...], query: Query) -> Message | None:
        """Return the first answer that settles the question; else the last failure, or None."""
        tries = sorted(servers, key=self._is_late) * ROUNDS
        running = dict[asyncio.Task[Message | None], NameServer]()
        failure: Message | None = None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE):
                while tries or running:
                    if tries:
                        server = tries.pop(0)
                        running[loop.create_task(self._try(server, query), name="dns")] = server
                    done, _ = await asyncio.wait(
                        running,
                        timeout=HEAD_START if tries else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for task in done:
                        server, answer = running.pop(task), task.result()
                        if answer is not None and answer.rcode() in _FINAL:
                            self._late.pop(server, None)
                            return answer
                        failure = answer or failure
                        self._note_late(server)
        except TimeoutError:
            log.debug("no name server answered: %s", ", ".join(map(str, servers)))
        finally:
            await self._stop(running)
        return failure

    async def _stop(self, running: dict[asyncio.Task[Message | None], NameServer]) -> None:
        for task, server in running.items():
            task.cancel()
            self._note_late(server)
        await asyncio.gather(*running, return_exceptions=True)

    def _is_late(self, server: NameServer) -> bool:
        return self._late.get(server, 0.0) > self.now()

    def _note_late(self, server: NameServer) -> None:
        if len(self._late) >= MOST_KNOWN:
            self._late.clear()
        self._late[server] = self.now() + LATE_FOR

    async def _try(self, server: NameServer, query: Query) -> Message | None:
        """Ask one server; None when it cannot be reached or does not keep to the format."""
        try:
            addresses = server.addresses or await self._find(server.host)
            match server.transport:
                case "plain":
                    return await ask_plain(addresses[0], server.port, query, server.device)
                case "tls":
                    return await self.tls.ask(server, addresses, query)
                case "https" | "http":
                    return await self.http.ask(server, addresses, query)
        except (OSError, EOFError, GatepostError) as error:
            log.debug("name server %s: %s", server, error)
            return None

    async def _find(self, host: str) -> tuple[Address, ...]:
        """Return where a host is, asking the first servers; raise `OSError`."""
        known, until = self._hosts.get(host, ((), 0.0))
        if known and until > self.now():
            return known
        found = list[Address]()
        servers = tuple(s for s in self.first() if s.transport == "plain" and s.addresses)
        for kind in ("A", "AAAA") if servers else ():
            answer = await self.ask(servers, address_query(host, kind))
            found += addresses_in(answer) if answer is not None else ()
        if not found:
            raise OSError(f"nobody knows where {host} is")
        if len(self._hosts) >= MOST_KNOWN:
            self._hosts.clear()
        self._hosts[host] = tuple(found), self.now() + HOST_FOR
        return tuple(found)
