"""What the lab found out: one document for programs, and text for people."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Iterator

import msgspec

import gatepost
from gatepost.testing.lab_boxes import Box
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import Pair, Transfer


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """How one box reaches another. `via` is an address and port, or a DERP region."""

    source: str
    destination: str
    path: str
    via: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `./run --once --json`. `seconds` says how long each step took."""

    works: bool
    versions: dict[str, str]
    wireguard: dict[str, str]  # box to backend: "kernel" or "wireguard-go"
    pairs: tuple[Pair, ...]
    paths: tuple[Path, ...]
    throughput: Transfer
    seconds: dict[str, float]


def make_report(
    lab: Lab, pairs: tuple[Pair, ...], throughput: Transfer, seconds: dict[str, float]
) -> Report:
    """Gather what is left to know from the running boxes."""
    boxes = tuple(lab.boxes.values())
    return Report(
        works=all(pair.works for pair in pairs),
        versions=versions(),
        wireguard={box.name: backend(box) for box in boxes},
        pairs=pairs,
        paths=tuple(path for box in boxes for path in paths(box)),
        throughput=throughput,
        seconds={step: round(took, 2) for step, took in seconds.items()},
    )


def backend(box: Box) -> str:
    """Return which WireGuard a box runs on."""
    device = box.client.status().wireguard
    return device.backend if device else "none"


def paths(box: Box) -> Iterator[Path]:
    """Yield how a box reaches each of its peers now."""
    for peer in box.client.status().peers:
        name = peer.name.partition(".")[0]
        via = peer.relay if peer.path == "derp" else peer.endpoint
        yield Path(source=box.name, destination=name, path=peer.path, via=via)


def versions() -> dict[str, str]:
    """Return the versions of what the result depends on."""
    return {
        "gatepost": gatepost.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "wireguard-go": _first_line("wireguard-go", "--version").removeprefix("wireguard-go "),
        "nftables": _first_line("nft", "--version").removeprefix("nftables "),
    }


def _first_line(*command: str) -> str:
    """Return the first line that a program prints; "" when it is not installed."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except FileNotFoundError:
        return ""
    return (result.stdout or result.stderr).partition("\n")[0]


def text(report: Report) -> Iterator[str]:
    """Yield the lines that people read."""
    yield ""
    yield "every LAN host pings every other one:"
    yield from _pair_lines(report.pairs)
    yield ""
    yield "paths between the boxes:"
    for path in report.paths:
        yield f"  {path.source} -> {path.destination}  {path.path} {path.via}"
    sent = report.throughput
    yield ""
    yield (
        f"TCP from {sent.source} to {sent.destination}: {sent.rate:.0f} Mbit/s "
        f"({sent.octets / 1e6:.0f} MB in {sent.seconds:.1f} s, {sent.retransmits} retransmits)"
    )
    used = sorted(set(report.wireguard.values()))
    yield f"WireGuard: {', '.join(used)} on Linux {report.versions['kernel']}"


def _pair_lines(pairs: Iterable[Pair]) -> Iterator[str]:
    for pair in pairs:
        answer = (
            f"{pair.round_trip:6.2f} ms"
            if pair.works and pair.round_trip is not None
            else f"{pair.received} of {pair.sent} answered"
        )
        yield f"  {pair.source} -> {pair.destination}  {pair.address:<14} {answer}"
