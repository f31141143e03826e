"""`gatepost netcheck`: how this machine sees the internet."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.localapi.words import milliseconds

_WORDS = {True: "yes", False: "no", None: "unknown"}


@click.command(help="Measure UDP, NAT and the latency to the DERP regions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def netcheck(session: Session, *, as_json: bool) -> None:
    report = session.node.netcheck()
    if as_json:
        say_json(report)
        return
    facts = [
        ("UDP", _WORDS[report.udp]),
        ("IPv4", report.ipv4 or "no"),
        ("IPv6", report.ipv6 or "no"),
        ("Mapping varies by destination", _WORDS[report.mapping_varies]),
    ]
    say_table((), facts)
    click.echo("")
    rows = [
        (
            f"{region.code} ({region.id})",
            region.name,
            milliseconds(region.latency),
            "home" if region.id == report.preferred_derp else "",
        )
        for region in sorted(report.regions, key=lambda r: (r.latency is None, r.latency or 0))
    ]
    say_table(("DERP", "NAME", "LATENCY", ""), rows)
    if not rows:
        click.echo("No DERP regions are known; they come from the coordination server.")
