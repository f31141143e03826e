"""`gatepost admin`: the list of its nouns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from gatepost.cli.lazy import LazyGroup
from gatepost.cli.session import Session

_PLACES = {
    "users": "gatepost.cli.admin.users:users",
    "keys": "gatepost.cli.admin.keys:keys",
    "nodes": "gatepost.cli.admin.nodes:nodes",
    "routes": "gatepost.cli.admin.routes:routes",
    "registrations": "gatepost.cli.admin.registrations:registrations",
    "ssh-checks": "gatepost.cli.admin.ssh_checks:ssh_checks",
    "policy": "gatepost.cli.admin.policy:policy",
    "dns": "gatepost.cli.admin.dns:dns",
    "server": "gatepost.cli.admin.server:server",
    "derp": "gatepost.cli.admin.derp:derp",
}


@click.group(
    cls=LazyGroup,
    places=_PLACES,
    help="Administer the coordination server of this machine.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    envvar="GATEPOST_COORDINATION_SOCKET",
    help="Its local socket.  [default: /run/gatepost-coordination/admin.sock]",
)
@click.pass_context
def admin(context: click.Context, socket: Path | None) -> None:
    context.obj = replace(context.ensure_object(Session), server_socket=socket)
