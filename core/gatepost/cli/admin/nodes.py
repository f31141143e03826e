"""`gatepost admin nodes`."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.cli.values import HostName, Tags
from gatepost.localapi.words import ago
from gatepost.model.admin import NodeDocument, NodeRequest


@click.group(help="The machines of the network. NODE is an id or a name.")
def nodes() -> None: ...


@nodes.command("list", help="List all nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.server.nodes()
    if as_json:
        say_json(documents)
        return
    now = session.now()
    rows = [_row(node, now) for node in documents]
    say_table(
        ("ID", "NAME", "USER", "ADDRESSES", "OS", "VERSION", "STATE"),
        rows,
        empty="There are no nodes.",
    )


@nodes.command(help="Give a node another name.")
@click.argument("node", shell_complete=complete.nodes)
@click.argument("name", type=HostName())
@click.pass_obj
def rename(session: Session, *, node: str, name: str) -> None:
    session.server.change_node(node, NodeRequest(name=name))


@nodes.command(help="End a node's key now; it must sign in again.")
@click.argument("node", shell_complete=complete.nodes)
@click.pass_obj
def expire(session: Session, *, node: str) -> None:
    session.server.change_node(node, NodeRequest(expire=True))


@nodes.command(help="Remove a node from the network.")
@click.argument("node", shell_complete=complete.nodes)
@click.pass_obj
def delete(session: Session, *, node: str) -> None:
    session.server.delete_node(node)


@nodes.command(help='Give a node these tags in place of those it has; "" for none.')
@click.argument("node", shell_complete=complete.nodes)
@click.argument("tags", type=Tags())
@click.pass_obj
def tag(session: Session, *, node: str, tags: tuple[str, ...]) -> None:
    session.server.change_node(node, NodeRequest(tags=tags))


def _row(node: NodeDocument, now: float) -> tuple[str, ...]:
    owner = ",".join(node.tags) or node.user
    addresses = ", ".join(node.addresses)
    system, version = node.operating_system or "-", node.client_version or "-"
    return str(node.id), node.name, owner, addresses, system, version, _state(node, now)


def _state(node: NodeDocument, now: float) -> str:
    if node.expired:
        return click.style("expired", fg="red")
    if node.online:
        return click.style("online", fg="green")
    return click.style(f"seen {ago(node.last_seen, now)}", dim=True)
