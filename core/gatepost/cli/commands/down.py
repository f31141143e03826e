"""`gatepost down`."""

from __future__ import annotations

import click

from gatepost.cli.session import Session


@click.command(help="Leave the mesh for now; the node stays registered.")
@click.pass_obj
def down(session: Session) -> None:
    session.node.down()
