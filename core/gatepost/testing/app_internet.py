"""The internet of the app connector's scene: a name server, and web hosts behind the names.

203.0.113.53   the name server; its zone is what `Zone` writes into a file, read anew for
each question, so that it can begin to lie, crawl or die at any time
others         a web host at every address, which tells a caller what address it has
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import msgspec

from gatepost.testing.netns import LabError, Machine

NAME_SERVER = "203.0.113.53"
WEB_PORT = 80
_TTL = 30  # seconds

# Reads the zone for each question: {"names": {name: [address or other name]}, "delay": {name: s}}.
# Of more than eight addresses it gives eight, others each time, as large sites do.
_SERVER = f"""
import json, random, socket, sys, threading, time
import dns.message, dns.rrset, dns.rcode
path, host = sys.argv[1], sys.argv[2]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((host, 53))
def answer(raw, sender):
    zone = json.load(open(path))
    query = dns.message.from_wire(raw)
    reply = dns.message.make_response(query)
    name, kind = query.question[0].name, query.question[0].rdtype
    time.sleep(zone["delay"].get(name.to_text(True).lower(), 0))
    while True:
        values = zone["names"].get(name.to_text(True).lower())
        if values is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            break
        if not (":" in values[0] or values[0][0].isdigit()):
            reply.answer.append(dns.rrset.from_text(name, {_TTL}, "IN", "CNAME", values[0] + "."))
            name = dns.name.from_text(values[0])
            continue
        fitting = [v for v in values if (":" in v) == (kind == 28)] if kind in (1, 28) else []
        chosen = random.sample(fitting, min(8, len(fitting)))
        if chosen:
            ttl = {_TTL} if len(fitting) <= 8 else 0
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, *chosen))
        break
    server.sendto(reply.to_wire(), sender)
print("up", flush=True)
while True:
    raw, sender = server.recvfrom(4096)
    threading.Thread(target=answer, args=(raw, sender), daemon=True).start()
"""
_WEB = f"""
import socket, threading
def serve(listening):
    while True:
        connection, sender = listening.accept()
        with connection:
            text = sender[0].removeprefix("::ffff:").encode()
            connection.recv(4096)
            head = b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text)
            connection.sendall(head + text)
listening = socket.create_server(("::", {WEB_PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
serve(listening)
"""


@dataclass(slots=True)
class AppInternet:
    """The running servers. Names map to their addresses, or to the one name they stand for."""

    machine: Machine
    zone: Path
    names: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    delays: dict[str, float] = field(default_factory=dict[str, float])
    _server: subprocess.Popen[str] | None = None

    def start(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Start both servers, and give the machine every address that the names have."""
        self.machine.ip(f"address add {NAME_SERVER}/32 dev lo")
        self.tell(names)
        texts = {text for values in names.values() for text in values if _is_address(text)}
        lengths = {4: 32, 6: 128}
        self.machine.ip(
            *(f"address add {t}/{lengths[ip_address(t).version]} dev lo" for t in sorted(texts))
        )
        _started(self.machine, "/usr/bin/python3", "-c", _WEB)
        self.revive()

    def tell(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Let the name server know these names, too."""
        self.names |= names
        document = {"names": self.names, "delay": self.delays}
        beside = self.zone.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(document))
        beside.replace(self.zone)

    def slow(self, name: str, seconds: float) -> None:
        """Let answers about a name take so long."""
        self.delays[name] = seconds
        self.tell({})

    def kill(self) -> None:
        """End the name server."""
        if self._server is not None:
            self.machine.run("pkill", "-f", f"^{sys.executable} -c .*{NAME_SERVER}")

    def revive(self) -> None:
        self._server = _started(
            self.machine, sys.executable, "-c", _SERVER, str(self.zone), NAME_SERVER
        )

    def ask_web(self, caller: Machine, address: str, seconds: float = 3.0) -> str:
        """Return the address that a web host sees a caller at, or how curl fails."""
        host = f"[{address}]" if ":" in address else address
        words = ("-sS", "-m", f"{seconds:g}", f"http://{host}:{WEB_PORT}/")
        result = caller.attempt("curl", *words)
        return result.stdout or f"curl ended with {result.returncode}"


def _is_address(text: str) -> bool:
    return ":" in text or text[0].isdigit()


def _started(machine: Machine, *words: str) -> subprocess.Popen[str]:
    process = machine.start(*words, output=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout else ""
    if line != "up\n":
        rest = process.stdout.read() if process.stdout else ""
        raise LabError(f"{machine.name}: a server did not start: {line}{rest}")
    return process
