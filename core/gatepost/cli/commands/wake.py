"""`gatepost wake`: wakes a sleeping machine of this LAN or of another site."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json
from gatepost.cli.session import Session
from gatepost.model.wake import WakeRequestDocument


@click.command()
@click.argument("machine")
@click.option("--site", default="", shell_complete=complete.peers, help="The box of its site.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def wake(session: Session, *, machine: str, site: str, as_json: bool) -> None:
    """Wake a MACHINE: a link address (MAC), or a name that the box of its site knows."""
    woken = session.node.wake(WakeRequestDocument(target=machine, site=site))
    if as_json:
        say_json(woken)
        return
    where = f" at {woken.site}" if woken.site else ""
    click.echo(f"sent to {woken.mac} on {', '.join(woken.links)}{where}; nobody answers such")
