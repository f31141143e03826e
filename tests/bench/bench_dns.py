"""How fast the box's resolver answers what it knows, beside dnsmasq under the same questions.

Both have the same name server behind them, which answers once; dnsperf asks both in turns.
Needs the Debian packages dnsmasq-base and dnsperf.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rrset
from tests.bench.figures import Figure, finish

from gatepost.model.names import plain_server
from gatepost.model.netmap import DnsRoute
from gatepost.model.resolver import NamePlan, NameView
from gatepost.net.dns_resolver import Resolver
from gatepost.net.dns_server import answer_names
from gatepost.net.dns_upstream import Upstreams

NAMES = 1000
TURNS = 5
SECONDS = 2  # of each
RATE, RATE_SECONDS = 1000, 4  # questions a second, for the time that one takes
RATIO, SLOWEST = 0.25, 5.0  # of dnsmasq's at least; milliseconds at most
HERE = "127.0.0.1"
START_TIMEOUT = 10.0  # seconds


def main() -> int:
    missing = [p for p in ("dnsmasq", "dnsperf") if shutil.which(p, path=search_path()) is None]
    if missing:
        print(f"not installed: {' '.join(missing)} (apt install dnsmasq-base dnsperf)")
        return 2
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        questions = directory / "questions"
        questions.write_text("".join(f"n{n}.example.org A\n" for n in range(NAMES)))
        upstream, ours, theirs = free_port(), free_port(), free_port()
        stack.enter_context(started(upstream, *program("upstream", upstream)))
        stack.enter_context(started(ours, *program("ours", ours, upstream)))
        stack.enter_context(started(theirs, *dnsmasq(theirs, upstream)))
        for port in (ours, theirs):
            perform(port, questions, "-n", "3")  # everything is known now
        turns = [(rate(ours, questions), rate(theirs, questions)) for _ in range(TURNS)]
        slow = latencies(ours, questions)
    return finish(
        [
            Figure(
                name="cached answers, resolver / dnsmasq",
                value=statistics.median(one / other for one, other in turns),
                unit="",
                limit=RATIO,
                wanted="at least",
            ),
            Figure(name="resolver", value=statistics.median(a for a, _ in turns), unit="1/s"),
            Figure(name="dnsmasq", value=statistics.median(b for _, b in turns), unit="1/s"),
            Figure(
                name=f"99 % of answers at {RATE}/s within",
                value=statistics.quantiles(slow, n=100)[98] * 1000,
                unit="ms",
                limit=SLOWEST,
            ),
        ]
    )


def search_path() -> str:
    return "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, *ports: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.bench.bench_dns", name, *map(str, ports))


def dnsmasq(port: int, upstream: int) -> tuple[str, ...]:
    return (
        *("/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"),
        *("--no-hosts", f"--port={port}", f"--listen-address={HERE}", "--bind-interfaces"),
        *(f"--server={HERE}#{upstream}", "--cache-size=10000", "--user=root", "--pid-file"),
    )


@contextmanager
def started(port: int, *command: str) -> Generator[None]:
    """Run a server until it answers, and then for the length of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        await_answer(port)
        yield
    finally:
        process.terminate()
        process.wait(timeout=START_TIMEOUT)


def await_answer(port: int) -> None:
    query = dns.message.make_query("n0.example.org", "A").to_wire()
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until:
        with socket.socket(type=socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.settimeout(0.5)
            sock.connect((HERE, port))
            sock.send(query)
            if sock.recv(4096):
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody answers at port {port}")


def perform(port: int, questions: Path, *options: str) -> str:
    """Run dnsperf and return what it says."""
    return subprocess.run(
        ("dnsperf", "-s", HERE, "-p", str(port), "-d", str(questions), *options),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def rate(port: int, questions: Path) -> float:
    """Return answers a second."""
    said = perform(port, questions, "-l", str(SECONDS), "-c", "8", "-q", "200")
    lost = re.search(r"Queries lost:\s+(\d+)", said)
    found = re.search(r"Queries per second:\s+([\d.]+)", said)
    assert found
    assert lost
    if int(lost[1]) > NAMES:
        raise RuntimeError(f"{lost[1]} questions got no answer:\n{said}")
    return float(found[1])


def latencies(port: int, questions: Path) -> list[float]:
    """Return the seconds that each answer took at a steady rate."""
    said = perform(port, questions, "-v", "-Q", str(RATE), "-l", str(RATE_SECONDS))
    return [float(found) for found in re.findall(r"^> NOERROR .* ([\d.]+)$", said, re.MULTILINE)]


async def serve_upstream(port: int) -> None:
    """Answer every question with one address, for an hour."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((HERE, port))
        loop = asyncio.get_running_loop()
        while True:
            raw, source = await loop.sock_recvfrom(sock, 4096)
            query = dns.message.from_wire(raw)
            reply = dns.message.make_response(query, recursion_available=True)
            name = query.question[0].name
            reply.answer.append(dns.rrset.from_text(name, 3600, "IN", "A", "192.0.2.1"))
            sock.sendto(reply.to_wire(), source)


async def serve_ours(port: int, upstream: int) -> None:
    """Run the box's resolver, as the daemon does."""
    loop = asyncio.get_running_loop()
    upstreams = Upstreams(loop.time)
    resolver = Resolver(upstreams.ask, loop.time)
    route = DnsRoute(suffix="", servers=(plain_server(ip_address(HERE), upstream),))
    resolver.set_plan(NamePlan(suffix="mesh.example", routes=(route,)))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((HERE, port))
        await answer_names(resolver, NameView(), (sock.fileno(),))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["upstream", port]:
            asyncio.run(serve_upstream(int(port)))
        case ["ours", port, upstream]:
            asyncio.run(serve_ours(int(port), int(upstream)))
        case _:
            sys.exit(main())
