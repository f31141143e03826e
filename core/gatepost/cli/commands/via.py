"""`gatepost via`: from an IPv4 network of a site to its IPv6 prefix, and back."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import click

from gatepost.errors import SettingsError
from gatepost.model.via6 import PREFIX, read_prefix, via_name, via_prefix


@click.command(
    help="""Show what stands for an IPv4 network of a numbered site, or what a prefix stands for.

\b
  gatepost via 7 10.0.0.0/24
  gatepost via fd7a:115c:a1e0:b1a:0:7:a00:0/120
"""
)
@click.argument("site_or_prefix", metavar="SITE|PREFIX")
@click.argument("network", metavar="[NETWORK]", required=False)
def via(site_or_prefix: str, network: str | None) -> None:
    if network is None:
        _explain(site_or_prefix)
        return
    if not (site_or_prefix.isascii() and site_or_prefix.isdecimal()):
        hint = "for example: gatepost via 7 10.0.0.0/24"
        raise SettingsError(f"{site_or_prefix!r} is not the number of a site", hint=hint)
    try:
        site, inside = int(site_or_prefix), IPv4Network(network)
        prefix = via_prefix(site, inside)
    except ValueError as error:
        raise SettingsError(
            f"{site_or_prefix} {network}: {error}", hint="for example: gatepost via 7 10.0.0.0/24"
        ) from error
    click.echo(prefix)
    last = inside.prefixlen == inside.max_prefixlen
    shown = inside[0] if last else inside[1]
    click.echo(f"{shown} is {via_name(site, shown)}")


def _explain(text: str) -> None:
    try:
        found = read_prefix(IPv6Network(text))
    except ValueError as error:
        raise SettingsError(
            str(error), hint="give a site and an IPv4 network, or one IPv6 prefix"
        ) from error
    if found is None:
        raise SettingsError(
            f"{text} stands for no IPv4 network", hint=f"those are in {PREFIX}, /96 to /128"
        )
    site, network = found
    click.echo(f"site {site}, {network}")
