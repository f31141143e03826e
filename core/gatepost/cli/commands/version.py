"""`gatepost version`: the command line's own, and the daemon's when asked."""

from __future__ import annotations

import click

from gatepost import __version__
from gatepost.cli.session import Session


@click.command(help="Print the version of this program.")
@click.option("--daemon", is_flag=True, help="Print the running daemon's version, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def version(session: Session, *, daemon: bool, as_json: bool) -> None:
    running = session.node.version() if daemon else None
    if as_json:
        from gatepost.cli.output import complete, say_json  # noqa: PLC0415  # only when needed

        say_json({"client": __version__, "daemon": complete(running)})
        return
    click.echo(__version__)
    if running is not None:
        click.echo(f"  daemon {running.version}, capability version {running.capability}")
