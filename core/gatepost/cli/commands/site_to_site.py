"""`gatepost site-to-site`: what hosts of the LAN must know, and whether their answers come back."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError, SettingsError
from gatepost.localapi.words import milliseconds
from gatepost.model.netmap import IPAddress
from gatepost.model.status import LanDocument, ReturnDocument, ReturnPathDocument
from gatepost.sessions.lan_routes import STYLES, Lan, told_to

_DHCP = frozenset({"dnsmasq", "isc", "kea"})
_WORDS = {
    "host": "come back",
    "router": "come back by way of a router",
    "none": "do not come back",
}


@click.group(name="site-to-site")
def site_to_site() -> None:
    """Let hosts of two sites see each other's real addresses."""


@site_to_site.command(
    help="""Show the routes that hosts of the LAN, or their router, need.

\b
  gatepost site-to-site routes
  gatepost site-to-site routes --for dnsmasq --router 192.168.1.1
"""
)
@click.option(
    "--for", "style", type=click.Choice(STYLES), default="plain", help="In whose language."
)
@click.option(
    "--router",
    metavar="ADDRESS",
    help="The LAN's default router, which DHCP has to name, too.  [default: this box's own]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def routes(session: Session, *, style: str, router: str | None, as_json: bool) -> None:
    lans = session.node.lans()
    if as_json:
        say_json(lans)
        return
    if not lans:
        raise NotFoundError(
            "no network of this box is shared with the mesh",
            hint="gatepost set --advertise-routes=… and gatepost admin routes approve",
        )
    chosen = [lan for lan in lans if style not in _DHCP or ":" not in lan.network]
    if not chosen:
        shared = ", ".join(lan.network for lan in lans)
        raise NotFoundError(
            f"DHCP has routes for IPv4 only, and what this box shares is IPv6: {shared}",
            hint="gatepost plugin set site-to-site announce-on=DEVICE",
        )
    for lan in chosen:
        _show(lan, style, router)


def _show(document: LanDocument, style: str, router: str | None) -> None:
    lan = Lan(
        network=ip_network(document.network),
        via=ip_address(document.via),
        routes=tuple(map(ip_network, document.routes)),
    )
    if not lan.routes:
        click.echo(f"# {lan.network}: no other site is reached yet", err=True)
        return
    click.echo(f"# {lan.network}", err=True)
    try:
        for line in told_to(style, lan, _router(router or document.router)):
            click.echo(line)
    except ValueError as error:
        raise SettingsError(str(error), hint="--router=192.168.1.1") from error


def _router(text: str) -> IPAddress | None:
    try:
        return IPv4Address(text) if text else None
    except ValueError as error:
        raise SettingsError(f"--router: {error}") from error


@site_to_site.command()
@click.argument("host")
@click.option("--timeout", default=3.0, help="Seconds to wait.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(session: Session, *, host: str, timeout: float, as_json: bool) -> int:
    """Ask a HOST of the LAN as other sites would, and see whether its answers come back here."""
    found = session.node.return_path(host, timeout)
    if as_json:
        say_json(found)
    else:
        _tell(found)
    return 0 if _is_good(found) else 1


def _is_good(found: ReturnPathDocument) -> bool:
    return bool(found.results) and all(r.answer != "none" for r in found.results)


def _tell(found: ReturnPathDocument) -> None:
    if not found.alive:
        click.echo(f"{found.target} answers nobody, not even this box: try another host")
        return
    rows = [(r.network, _WORDS[r.answer], milliseconds(r.latency), r.sender) for r in found.results]
    say_table(
        ("ANSWERS TO", "", "AFTER", "FROM"), rows, empty="no other site is reached from here yet"
    )
    if lost := [r for r in found.results if r.answer == "none"]:
        click.echo(f"{found.target} is there, but sends these answers elsewhere. {_cure(lost)}:")
        for result in lost:
            click.echo(f"  {result.network} via {found.via}")


def _cure(lost: list[ReturnDocument]) -> str:
    if ":" in lost[0].network:
        return (
            "Let the box announce routes (gatepost plugin set site-to-site announce-on=DEVICE), "
            "or add on its router"
        )
    return "Add on its router"
