"""What a shell may offer for an argument: names that the daemon or the server knows now.

Whoever presses Tab wants no error: where nobody answers, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from gatepost.cli.session import Session
from gatepost.errors import GatepostError

Names = Callable[[Session, click.Context], Iterable[str]]
Offer = Callable[[click.Context, click.Parameter, str], list[str]]


def offer(names: Names) -> Offer:
    """Return a `shell_complete` that asks for names and keeps those that fit what is there."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            known = [*names(_session(context), context)]
        except GatepostError:
            return []
        return [name for name in known if name.startswith(begun)]

    return complete


def _session(context: click.Context) -> Session:
    """Return what the groups would have made: while completing, click calls none of them."""
    sockets: dict[str | None, Path | None] = {}
    level: click.Context | None = context
    while level is not None:
        sockets[level.info_name if level.parent else None] = level.params.get("socket")
        level = level.parent
    return Session(node_socket=sockets.get(None), server_socket=sockets.get("admin"))


def _plugins(session: Session, _context: click.Context) -> Iterable[str]:
    return (plugin.name for plugin in session.node.plugins())


def _settings(session: Session, context: click.Context) -> Iterable[str]:
    for plugin in session.node.plugins():
        if plugin.name == context.params.get("name"):
            yield from (f"{field.name}=" for field in plugin.fields)


def _peers(session: Session, _context: click.Context) -> Iterable[str]:
    from gatepost.localapi.words import short_name  # noqa: PLC0415  # lazy, as the clients

    status = session.node.status()
    return (short_name(peer.name, status.node) for peer in status.peers)


def _nodes(session: Session, _context: click.Context) -> Iterable[str]:
    return (node.name for node in session.server.nodes())


def _users(session: Session, _context: click.Context) -> Iterable[str]:
    return (user.name for user in session.server.users())


def _registrations(session: Session, _context: click.Context) -> Iterable[str]:
    return (waiting.id for waiting in session.server.registrations())


def _ssh_checks(session: Session, _context: click.Context) -> Iterable[str]:
    return (waiting.id for waiting in session.server.ssh_checks())


plugins, settings, peers = offer(_plugins), offer(_settings), offer(_peers)
nodes, users, registrations = offer(_nodes), offer(_users), offer(_registrations)
ssh_checks = offer(_ssh_checks)
