"""`gatepost netcheck`: how this machine sees the internet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from gatepost.cli.output import say_json
from gatepost.cli.session import Session
from gatepost.localapi.words import milliseconds
from gatepost.model.status import NetcheckDocument, PortMappingDocument, RegionDocument

_WORDS = {True: "yes", False: "no", None: "unknown"}


@click.command(help="Measure UDP, NAT, port mapping and the latency to the DERP regions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Measure again and again, until Ctrl-C.",
)
@click.pass_obj
def netcheck(session: Session, *, as_json: bool, every: float | None) -> None:
    while True:
        report = session.node.netcheck()
        if as_json:
            say_json(report)
        else:
            click.echo(_text(report))
        if every is None:
            return
        session.wait(every)


def _text(report: NetcheckDocument) -> str:
    lines = ["", "Report:"]
    lines += [f"\t* {name}: {value}" for name, value in _facts(report)]
    lines += _latencies(report)
    return "\n".join(lines)


def _facts(report: NetcheckDocument) -> list[tuple[str, str]]:
    """Return what is known by the names that people know."""
    facts = [("UDP", _WORDS[report.udp])]
    if report.time is not None:
        stamp = datetime.fromtimestamp(report.time, UTC)
        facts.insert(0, ("Time", f"{stamp:%Y-%m-%d %H:%M:%SZ}"))
    facts += [
        ("IPv4", f"yes, {report.ipv4}" if report.ipv4 else "(no addr found)"),
        ("IPv6", _ipv6(report)),
        ("MappingVariesByDestIP", _WORDS[report.mapping_varies]),
        ("HairPinning", _WORDS[report.hairpin]),
        ("PortMapping", _port_mapping(report.port_mapping)),
    ]
    if report.port_mapping and report.port_mapping.pinholes is not None:
        facts.append(("IPv6Pinhole", _pinholes(report.port_mapping)))
    if report.captive_portal is not None:
        facts.append(("CaptivePortal", _WORDS[report.captive_portal]))
    facts.append(("Nearest DERP", _nearest(report)))
    return facts


def _ipv6(report: NetcheckDocument) -> str:
    if report.ipv6:
        return f"yes, {report.ipv6}"
    return "no, but OS has support" if report.ipv6_here else "no, unavailable in OS"


def _port_mapping(found: PortMappingDocument | None) -> str:
    """Return the protocols that the router speaks, and where it lets peers in."""
    if found is None:
        return "not checked"
    spoken = [("UPnP", found.upnp), ("NAT-PMP", found.nat_pmp), ("PCP", found.pcp)]
    text = ", ".join(name for name, is_spoken in spoken if is_spoken) or "none"
    if found.mapped:
        return f"{text} ({', '.join(found.mapped)})"
    return f"{text} ({_reasons(found.refusals)})" if found.refusals else text


def _pinholes(found: PortMappingDocument) -> str:
    """Return what the router's firewall for IPv6 lets in, or why it does not."""
    if found.pinholes:
        return ", ".join(found.pinholes)
    return f"none ({_reasons(found.pinhole_refusals)})" if found.pinhole_refusals else "none"


def _reasons(refusals: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in refusals.items())


def _nearest(report: NetcheckDocument) -> str:
    if not report.regions:
        return "unknown (the coordination server has told of no region)"
    if all(r.latency is None for r in report.regions):
        return "unknown (no response to latency probes)"
    nearest = min(report.regions, key=_distance)
    home = next((r for r in report.regions if r.id == report.preferred_derp), nearest)
    if home is nearest:
        return home.name or home.code
    return f"{nearest.name or nearest.code} (home stays {home.name or home.code})"


def _latencies(report: NetcheckDocument) -> list[str]:
    lines = ["\t* DERP latency:"] if report.regions else []
    for region in sorted(report.regions, key=_distance):
        home = ", home" if region.id == report.preferred_derp else ""
        measured = milliseconds(region.latency)
        lines.append(f"\t\t- {region.code:>3}: {measured:<9} ({region.name}{home}){_ways(region)}")
    return lines


def _ways(region: RegionDocument) -> str:
    """Say how it was measured, where that is not by IPv4 alone."""
    ways = [
        ("IPv4", region.latency_v4), ("IPv6", region.latency_v6), ("HTTPS", region.latency_https)
    ]  # fmt: skip
    known = [f"{name} {milliseconds(latency)}" for name, latency in ways if latency is not None]
    is_plain = len(known) == 1 and region.latency_v4 is not None
    return "" if is_plain or not known else f" {', '.join(known)}"


def _distance(region: RegionDocument) -> tuple[bool, float]:
    return region.latency is None, region.latency or 0.0
