"""What scenes and tests of several sites do again and again: join, share, approve, talk.

box joins                join(lab)
box is given a job       turn_on(box, "via6", site=7, networks=["192.168.1.0/24"])
server agrees            lab.approve(box, "fd7a:115c:a1e0:b1a:0:7:c0a8:100/120")
host answers             answer(host, "printer", "192.168.1.2")
somebody asks            ask(machine, "tcp", "192-168-1-2-via-7")  ->  "printer 200007"
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gatepost.model.status import PluginRequest, UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import LabError, Machine

JOIN_TIMEOUT = 30.0  # seconds
PORT = 8000  # of the hosts' servers; UDP without checksums is PORT + 10
TALK_TIMEOUT = 20.0  # seconds until a way that was just opened answers
FILL = 200_000  # octets after the name in a TCP answer: more than one window

Plain = str | int | bool | list[str]
Kind = Literal["tcp", "udp", "icmp"]

# Answers TCP with its name and FILL octets, UDP with its name and what came. Both IP versions.
_ANSWER = """
import socket, sys, threading
name, host, port = sys.argv[1].encode(), sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
def tcp(server):
    while True:
        connection, sender = server.accept()
        try:
            connection.sendall(name + b" " + sender[0].encode() + b" " + bytes(int(sys.argv[4])))
            connection.close()
        except OSError as error:
            print(error)
def udp(server):
    while True:
        text, sender = server.recvfrom(9999)
        server.sendto(name + b" " + sender[0].encode() + b" " + text, sender)
def bound(port, no_sum):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, 11, no_sum)  # SO_NO_CHECK
    made.bind((host, port))
    return made
listening = socket.create_server((host, port), family=family)
threading.Thread(target=tcp, args=(listening,)).start()
for number, no_sum in ((port, 0), (port + 10, 1)):
    threading.Thread(target=udp, args=(bound(number, no_sum),)).start()
print("up", flush=True)
"""
# Prints who answered, whom it saw, and how many octets came; or the error's name.
_ASK = """
import socket, sys
kind, host, port, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
try:
    family, _, _, _, there = socket.getaddrinfo(host, port)[0]
    if kind == "tcp":
        text, connection = b"", socket.create_connection(there[:2], 3)
        while more := connection.recv(65536):
            text += more
    else:
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.settimeout(2); one.connect(there)
        for attempt in range(3):  # what is too long for the path is only heard of
            one.send(bytes(size))
            try:
                text = one.recv(9999)
                break
            except TimeoutError:
                if attempt == 2:
                    raise
    name, seen, rest = text.split(b" ", 2)
    print(name.decode(), seen.decode(), len(rest))
except OSError as error:
    print(type(error).__name__)
"""

# A name server that knows one name; prints "up" when it listens.
_NAME_SERVER = """
import socket, sys, dns.message, dns.rcode, dns.rrset
host, known, address = sys.argv[1:4]
server = socket.socket(type=socket.SOCK_DGRAM); server.bind((host, 53)); print("up", flush=True)
while True:
    raw, sender = server.recvfrom(4096)
    query = dns.message.from_wire(raw)
    reply, (asked,) = dns.message.make_response(query, recursion_available=True), query.question
    if str(asked.name).lower() != known + ".":
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif asked.rdtype.name == "A":
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", address))
    server.sendto(reply.to_wire(), sender)
"""
_LOOK_UP = """
import sys, dns.exception, dns.message, dns.query, dns.rcode
server, name, kind = sys.argv[1:4]
try:
    reply = dns.query.udp(dns.message.make_query(name, kind), server, timeout=5)
    values = [str(value) for rrset in reply.answer for value in rrset]
    print(" ".join(values) or dns.rcode.to_text(reply.rcode()))
except (OSError, dns.exception.DNSException) as error:
    print(type(error).__name__)
"""


def join(lab: Lab, *, masquerade: bool = True) -> None:
    """Let all boxes join; they accept routes and offer none."""
    key = lab.key()
    for box in lab.boxes.values():
        box.client.up(
            UpRequest(
                login_server=lab.coordination.url,
                auth_key=key,
                hostname=box.name,
                accept_routes=True,
                snat_subnet_routes=masquerade,
            )
        )
    for box in lab.boxes.values():
        box.await_status(lambda status: status.state == "Running", "login", JOIN_TIMEOUT)


def turn_on(box: Box, plugin: str, **settings: Plain) -> None:
    """Switch a plugin on; underscores in a setting's name stand for dashes."""
    values = {name.replace("_", "-"): value for name, value in settings.items()}
    box.client.change_plugin(plugin, PluginRequest(enabled=True, settings=dict(values)))


def answer(machine: Machine, name: str, address: str, port: int = PORT) -> None:
    """Start a host's servers; they end with the machine. `name` is one word."""
    words = ("/usr/bin/python3", "-IS", "-c", _ANSWER, name, address, str(port), str(FILL))
    server = machine.start(*words, output=subprocess.PIPE)
    line = server.stdout.readline() if server.stdout else ""
    if line != "up\n":
        raise LabError(f"{machine.name}: no server at {address}: {line}")


def answer_names(machine: Machine, at: str, name: str, address: str) -> None:
    """Start a name server on port 53 of `at` that knows one A record; it ends with the machine."""
    server = machine.start(
        sys.executable, "-c", _NAME_SERVER, at, name, address, output=subprocess.PIPE
    )
    line = server.stdout.readline() if server.stdout else ""
    if line != "up\n":
        raise LabError(f"{machine.name}: no name server at {at}: {line}")


def look_up(machine: Machine, server: str, name: str, kind: str) -> str:
    """Return the values that a name server gives, or the code of its answer, or an error's name."""
    return machine.run(sys.executable, "-c", _LOOK_UP, server, name, kind).strip()


def ask(
    machine: Machine, kind: Kind, host: str, *, port: int = PORT, size: int = 10, sees: bool = False
) -> str:
    """Return who answered, or how it failed; with `sees`, whom it saw as the sender too.

    A whole answer counts only: one that is cut short is told with its length. For "icmp" it
    is "answered" or "lost".
    """
    if kind == "icmp":
        return "answered" if ping(machine, host) else "lost"
    words = (kind, host, str(port), str(size))
    text = machine.run("/usr/bin/python3", "-IS", "-c", _ASK, *words, timeout=30.0).strip()
    name, _, rest = text.partition(" ")
    sender, _, octets = rest.partition(" ")
    whole = octets == str(FILL if kind == "tcp" else size)
    if rest and not whole:
        return f"{name}, cut short: {octets} octets"
    return f"{name} sees {sender}" if sees and rest else name


def ping(machine: Machine, host: str, *options: str) -> bool:
    return machine.attempt("ping", "-c1", "-W2", *options, host).returncode == 0


def await_answer(machine: Machine, host: str, otherwise: Sequence[Box] = ()) -> None:
    """Wait until a ping is answered; raise LabError with the ends of these boxes' logs."""
    wait_for(
        lambda: True if ping(machine, host) else None,
        seconds=TALK_TIMEOUT,
        otherwise=lambda: (
            f"{machine.name}: {host} does not answer\n"
            + "\n".join(box.daemon.tail() for box in otherwise)
        ),
    )


def resolve_with(machine: Machine, server: str, directory: Path) -> None:
    """Let a machine ask `server` for names; no other machine notices."""
    file = directory / f"resolv.conf-{machine.name}"
    file.write_text(f"nameserver {server}\noptions timeout:2 attempts:2\n")
    machine.run("mount", "--bind", str(file), "/etc/resolv.conf")
