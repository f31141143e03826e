"""`gatepost lan`: the networks around this box, and which of them to share."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.model.status import UpRequest
from gatepost.model.surroundings import FoundNetwork


@click.command(help="Show the networks around this box, and share those that are proposed.")
@click.option("--share", is_flag=True, help="Advertise what is proposed, next to what is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def lan(session: Session, *, share: bool, as_json: bool) -> None:
    if share:
        _share(session)
    found = session.node.surroundings()
    if as_json:
        say_json(found)
        return
    rows = [(n.network, n.interface, n.gateway, n.dhcp, _state(n), n.why) for n in found.networks]
    headings = ("NETWORK", "LINK", "ROUTER", "DHCP", "STATE", "WHY")
    say_table(headings, rows, empty="This box is attached to no network.")
    click.echo(f"NAT: {found.nat}: {found.nat_text}")


def _share(session: Session) -> None:
    proposed = [n.network for n in session.node.surroundings().networks if n.proposed]
    if not proposed:
        click.echo("There is nothing to share that is not shared already.", err=True)
        return
    shared = session.node.settings().advertise_routes or ()
    wanted = tuple(dict.fromkeys((*shared, *proposed)))
    session.node.change_settings(UpRequest(advertise_routes=wanted))
    click.echo(f"Advertised: {', '.join(proposed)}", err=True)


def _state(network: FoundNetwork) -> str:
    if network.shared:
        text = "shared" if network.approved else "waits for approval"
        return click.style(text, fg="green" if network.approved else "yellow")
    return click.style("proposed", fg="cyan") if network.proposed else "not proposed"
