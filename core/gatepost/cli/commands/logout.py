"""`gatepost logout`."""

from __future__ import annotations

import click

from gatepost.cli.session import Session


@click.command(help="Leave the mesh and end this node's key. Coming back needs a sign-in.")
@click.pass_obj
def logout(session: Session) -> None:
    session.node.logout()
