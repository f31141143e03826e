"""`gatepost explain`: who wants a thing, and from which input."""

from __future__ import annotations

import sys

import click

from gatepost.cli.output import say_json
from gatepost.cli.session import Session


@click.command(
    help="Say which plugin wants a thing, and why. WHAT is a prefix, address, port or name."
)
@click.argument("what")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain(session: Session, *, what: str, as_json: bool) -> None:
    reasons = session.node.explain(what)
    if as_json:
        say_json(reasons)
    for reason in () if as_json else reasons:
        click.echo(f"{click.style(reason.kind, bold=True)} {reason.text}")
        click.echo(f"  wanted by {', '.join(reason.plugins) or 'nobody'}")
        if reason.source:
            click.echo(f"  because of {reason.source}")
        if not reason.present:
            click.echo(click.style("  not there yet", fg="yellow"))
    if not reasons:
        click.echo(f"gatepost: nothing here has to do with {what!r}", err=True)
        sys.exit(1)
