"""Asks a name server by UDP, from a socket per question, and by TCP when the answer is cut.

Each question has a port of its own, chosen by the kernel, a number of its own, and its name in
capital and small letters by chance, which servers give back as they were (the "0x20" trick);
the socket is connected, so the kernel drops what comes from elsewhere. Who still guesses too
often, or does not keep the letters, makes the question go by TCP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket

import dns.flags

from gatepost.errors import Malformed
from gatepost.model.names import Address
from gatepost.sessions.dns_messages import (
    Message,
    Query,
    has_same_letters,
    question_for,
    read_answer,
    with_letters,
)

log = logging.getLogger(__name__)

MOST_FORGED = 20  # answers to something else, until we ask by TCP
LARGEST = 4096  # bytes of a UDP answer; we ask for less
LENGTH = 2  # bytes before a message on TCP (RFC 1035 4.2.2)
LETTERS = 32  # bytes of chance for the letters of a name: 253 of them at most
NUMBERS = 1 << 16
_SO_BINDTODEVICE = 25  # Linux: asm-generic/socket.h


async def ask_plain(address: Address, port: int, query: Query, device: str = "") -> Message:
    """Ask by UDP, and by TCP if need be, for as long as the caller waits.

    With a `device` the question leaves through that one or not at all.
    Raise `OSError`, `EOFError` or `Malformed` when nobody is there, or talks nonsense.
    """
    question = question_for(query, secrets.randbelow(NUMBERS))
    mixed = with_letters(question, secrets.token_bytes(LETTERS))
    answer = await _ask_udp(address, port, mixed, device)
    if answer is None or answer.flags & dns.flags.TC:
        return await _ask_tcp(address, port, question, device)
    return answer


async def _ask_udp(address: Address, port: int, question: Message, device: str) -> Message | None:
    """Wait for the answer, for as long as the caller does; None when it cannot be trusted."""
    loop = asyncio.get_running_loop()
    with _socket(address, socket.SOCK_DGRAM, device) as sock:
        sock.connect((str(address), port))
        await loop.sock_sendall(sock, question.to_wire())
        for _ in range(MOST_FORGED):
            raw = await loop.sock_recv(sock, LARGEST)
            try:
                answer = read_answer(raw, question)
            except Malformed as error:
                log.debug("name server %s: %s", address, error)
                continue
            if has_same_letters(answer, question):
                return answer
            log.debug("name server %s changes the letters of names", address)
            return None
    log.warning("name server %s: somebody guesses at answers in its name", address)
    return None


async def _ask_tcp(address: Address, port: int, question: Message, device: str) -> Message:
    sock = _socket(address, socket.SOCK_STREAM, device)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        reader, writer = await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise
    try:
        writer.write(question.to_wire(prepend_length=True))
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(LENGTH))
        return read_answer(await reader.readexactly(length), question)
    finally:
        writer.close()


def _socket(address: Address, kind: socket.SocketKind, device: str) -> socket.socket:
    is_v4 = address.version == 4  # noqa: PLR2004  # the version of IP
    family = socket.AF_INET if is_v4 else socket.AF_INET6
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    if device:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, device.encode())
        except OSError:
            sock.close()
            raise
    return sock
