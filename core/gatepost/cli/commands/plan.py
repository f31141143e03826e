"""`gatepost plan`: what the next round would change, without writing."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json
from gatepost.cli.session import Session

_SIGNS = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}


@click.command(help="Print what would change on this machine, without writing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plan(session: Session, *, as_json: bool) -> None:
    changes = session.node.plan()
    if as_json:
        say_json(changes)
        return
    for change in changes:
        sign, color = _SIGNS[change.action]
        wanted = f"  ({', '.join(change.plugins)})" if change.plugins else ""
        click.echo(click.style(f"{sign} {change.kind} {change.text}", fg=color) + wanted)
    if not changes:
        click.echo("Nothing to change.", err=True)
