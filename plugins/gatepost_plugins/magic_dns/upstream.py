"""Asks name servers: by UDP from a socket per question, by TCP when the answer is cut.

Each question has a port of its own, chosen by the kernel, and a number of its
own; the socket is connected, so the kernel drops what comes from elsewhere.
Who still guesses too often makes the question go by TCP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.flags
import dns.rcode

from gatepost.api import Endpoint
from gatepost.errors import Malformed
from gatepost.sessions.dns_messages import Message, Query, question_for, read_answer

log = logging.getLogger(__name__)

HEAD_START = 0.8  # seconds before the next server is asked, too
PATIENCE = 4.5  # seconds for all servers together; stub resolvers wait five
ROUNDS = 2  # times that every server is asked: packets get lost
LATE_FOR = 30.0  # seconds in which a server that was late is asked after the others
MOST_FORGED = 20  # answers to something else, until we ask by TCP
LARGEST = 4096  # bytes of a UDP answer; we ask for less
_LENGTH = 2  # bytes before a message on TCP (RFC 1035 4.2.2)
_FINAL = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


@dataclass(slots=True)
class Upstreams:
    """Asks servers and remembers which are late."""

    now: Callable[[], float]
    _late: dict[Endpoint, float] = field(default_factory=dict[Endpoint, float])

    async def ask(self, servers: tuple[Endpoint, ...], query: Query) -> Message | None:
        """Return the first answer that settles the question; else the last failure, or None."""
        tries = sorted(servers, key=self._is_late) * ROUNDS
        running = dict[asyncio.Task[Message | None], Endpoint]()
        failure: Message | None = None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE):
                while tries or running:
                    if tries:
                        server = tries.pop(0)
                        running[loop.create_task(_try(server, query), name="dns")] = server
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

    async def _stop(self, running: dict[asyncio.Task[Message | None], Endpoint]) -> None:
        for task, server in running.items():
            task.cancel()
            self._note_late(server)
        await asyncio.gather(*running, return_exceptions=True)

    def _is_late(self, server: Endpoint) -> bool:
        return self._late.get(server, 0.0) > self.now()

    def _note_late(self, server: Endpoint) -> None:
        self._late[server] = self.now() + LATE_FOR


async def _try(server: Endpoint, query: Query) -> Message | None:
    """Ask one server; None when it cannot be reached or does not keep to the format."""
    question = question_for(query, secrets.randbelow(1 << 16))
    try:
        answer = await _ask_udp(server, question)
        if answer is None or answer.flags & dns.flags.TC:
            return await _ask_tcp(server, question)
    except (OSError, EOFError, Malformed) as error:
        log.debug("name server %s: %s", server, error)
        return None
    return answer


async def _ask_udp(server: Endpoint, question: Message) -> Message | None:
    """Wait for the answer, for as long as the caller does; None after too many wrong ones."""
    loop = asyncio.get_running_loop()
    is_v4 = server.address.version == 4  # noqa: PLR2004  # the version of IP
    family = socket.AF_INET if is_v4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((str(server.address), server.port))
        await loop.sock_sendall(sock, question.to_wire())
        for _ in range(MOST_FORGED):
            raw = await loop.sock_recv(sock, LARGEST)
            try:
                return read_answer(raw, question)
            except Malformed as error:
                log.debug("name server %s: %s", server, error)
    log.warning("name server %s: somebody guesses at answers in its name", server)
    return None


async def _ask_tcp(server: Endpoint, question: Message) -> Message:
    reader, writer = await asyncio.open_connection(str(server.address), server.port)
    try:
        writer.write(question.to_wire(prepend_length=True))
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        return read_answer(await reader.readexactly(length), question)
    finally:
        writer.close()
