"""What the packet filter costs with 10,000 rules, compared with one; and how long it takes to load.

A router between two machines, as on a box: the link of one of them takes the
part of the tunnel. Both filters are loaded in turns under the same test traffic.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

from tests.bench.figures import Figure, finish

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.linux.filters import EPOCH
from gatepost.model.netmap import FilterRule
from gatepost.model.owned import NFT_TABLE
from gatepost.testing.lab_proof import transfer
from gatepost.testing.makers import make_rule
from gatepost.testing.netns import Machines, connect, machines

MANY = 10_000
TURNS = 12
SECONDS = 1.0  # of each transfer
THROUGHPUT = 0.97  # at least, of the one rule's
REPLACE = 0.3  # seconds at most
PEER, MINE, HOST = "100.64.0.2", "100.64.0.1", "10.1.0.2"


def wishes(rules: tuple[FilterRule, ...]) -> FilterWishes:
    return FilterWishes(
        own=(ip_address(MINE),),
        admit=rules,
        forward=(ip_network("10.1.0.0/24"),),
        forward_out=(ip_network("100.64.0.0/10"),),
    )


def one() -> tuple[FilterRule, ...]:
    return (make_rule(f"{PEER}/32", f"{HOST}/32", 5201, 5201),)


def many() -> tuple[FilterRule, ...]:
    """Return the one rule among others: each lets another peer use one of 500 ports."""
    first = int(ip_address("100.64.1.0"))
    others = (
        make_rule(f"{ip_address(first + n)}/32", f"10.1.0.{n % 200 + 10}/32", *ports(n))
        for n in range(MANY - 1)
    )
    return (*others, *one())


def ports(number: int) -> tuple[int, int]:
    port = number % 500 + 1
    return port, port


class Bed:
    """Peer, router and host, and what loads the router's filter."""

    def __init__(self, owner: Machines, script: Path) -> None:
        self.peer, self.router, self.host = peer, router, host = owner.add("peer", "router", "host")
        self.script = script
        connect(peer, "tunnel", router, "gatepost0")
        connect(host, "eth0", router, "lan0")
        peer.ip(f"address add {PEER}/10 dev tunnel", "route add 10.1.0.0/24 dev tunnel")
        router.ip(f"address add {MINE}/10 dev gatepost0", "address add 10.1.0.1/24 dev lan0")
        host.ip(f"address add {HOST}/24 dev eth0", "route add default via 10.1.0.1")
        peer.ip(f"route replace 10.1.0.0/24 via {MINE}")
        router.sysctl(net__ipv4__ip_forward=1)

    def load(self, text: str, epoch: int) -> float:
        """Replace the filter as the applier does; return the seconds until it is in force."""
        head = f"define epoch = {epoch:#010x}\n"
        clear = f"add table inet {NFT_TABLE}\ndelete table inet {NFT_TABLE}\n"
        self.script.write_text(f"{head}{clear}{text}")
        began = time.perf_counter()
        self.router.run("nft", "-f", str(self.script))
        return time.perf_counter() - began

    def rate(self) -> float:
        return transfer(self.peer, self.host, HOST, seconds=SECONDS).rate


def main() -> int:
    texts = filter_text(wishes(one())), filter_text(wishes(many()))
    rates: tuple[list[float], list[float]] = ([], [])
    loads = list[float]()
    with tempfile.TemporaryDirectory() as folder, machines() as owner:
        bed = Bed(owner, Path(folder) / "filter.nft")
        for turn in range(TURNS + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                took = bed.load(texts[which], EPOCH * (which + 1))
                if which:
                    loads.append(took)
                rate = bed.rate()
                if turn:  # the first warms up
                    rates[which].append(rate)
    ratios = [b / a for a, b in zip(*rates, strict=True)]
    return finish(
        [
            Figure(
                name=f"throughput with {MANY} rules / with one",
                value=statistics.median(ratios),
                unit="",
                limit=THROUGHPUT,
                wanted="at least",
            ),
            Figure(
                name=f"replacing a filter of {MANY} rules",
                value=statistics.median(loads),
                unit="s",
                limit=REPLACE,
            ),
            Figure(name="with one rule", value=statistics.median(rates[0]), unit="Mbit/s"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
