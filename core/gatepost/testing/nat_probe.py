"""What a NAT does, measured from both of its sides as RFC 5780 does it, but not with STUN.

    reflector <address> <address>     on the internet: listens on two ports of each address
    ask <address> <address>           behind the NAT: prints mapping and filtering, one line each

A question is one letter: who shall answer. "s" the socket that was asked, "p"
another port of its address, "a" another address. The answer is the address
and port that the question came from. Nothing of Gatepost's own STUN is used:
this judges the lab, which judges that.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Sequence

from gatepost.testing.nat import Filtering, Mapping

PORTS = (3400, 3401)  # UDP
PATIENCE = 0.3  # seconds for an answer in a network without delay
TRIES = 2
_READY = "ready"

Address = tuple[str, int]


def main(arguments: Sequence[str]) -> int:
    action, first, second = arguments
    if action == "reflector":
        reflect((first, second))
    mapping, filtering = find_mapping(first, second), find_filtering(first)
    print(mapping.value if mapping else "")  # noqa: T201  # this is a program
    print(filtering.value if filtering else "")  # noqa: T201
    return 0


def reflect(addresses: tuple[str, str]) -> None:
    """Answer for ever."""
    sockets: dict[Address, socket.socket] = {}
    for address in addresses:
        for port in PORTS:
            sock = sockets[address, port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((address, port))
    print(_READY, flush=True)  # noqa: T201
    while True:
        for sock in select.select(tuple(sockets.values()), (), ())[0]:
            question, (asker, port) = sock.recvfrom(64)
            ours: Address = sock.getsockname()
            answering = sockets[_other(ours, question, addresses)]
            answering.sendto(f"{asker} {port}".encode(), (asker, port))


def _other(asked: Address, question: bytes, addresses: tuple[str, str]) -> Address:
    address, port = asked
    match question:
        case b"p":
            return address, PORTS[1 - PORTS.index(port)]
        case b"a":
            return addresses[1 - addresses.index(address)], port
        case _:
            return asked


def find_mapping(first: str, second: str) -> Mapping | None:
    """Return how one socket's port is mapped; None when nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = ((first, PORTS[0]), (first, PORTS[1]), (second, PORTS[0]))
        seen = {_ask(sock, server, b"s") for server in asked}
    if None in seen:
        return None
    if len(seen) == 1:
        return Mapping.ENDPOINT_INDEPENDENT
    return Mapping.ADDRESS_AND_PORT_DEPENDENT


def find_filtering(server: str) -> Filtering | None:
    """Return who may answer; None when not even the one that was asked."""
    kinds = (
        (b"a", Filtering.ENDPOINT_INDEPENDENT),
        (b"p", Filtering.ADDRESS_DEPENDENT),
        (b"s", Filtering.ADDRESS_AND_PORT_DEPENDENT),
    )
    for question, filtering in kinds:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if _ask(sock, (server, PORTS[0]), question):
                return filtering
    return None


def _ask(sock: socket.socket, server: Address, question: bytes) -> str | None:
    sock.settimeout(PATIENCE)
    for _ in range(TRIES):
        sock.sendto(question, server)
        try:
            return sock.recv(64).decode()
        except (TimeoutError, ConnectionRefusedError):
            continue
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
