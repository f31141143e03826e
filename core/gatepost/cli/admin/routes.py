"""`gatepost admin routes`: which advertised networks are approved."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.cli.values import Prefixes
from gatepost.model.admin import NodeDocument, NodeRequest, RouteChoiceDocument

EXITS = ("0.0.0.0/0", "::/0")  # of these each machine chooses its own carrier


@click.group(help="Networks behind nodes. NODE is an id or a name, ROUTES like 10.1.0.0/16,...")
def routes() -> None: ...


@routes.command("list", help="List what nodes advertise, what is approved, and who uses what.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    nodes = session.server.nodes()
    found = [
        (node, route)
        for node in nodes
        for route in sorted({*node.announced_routes, *node.approved_routes, *node.preferred_routes})
    ]
    if as_json:
        say_json([_document(node, route) for node, route in found])
        return
    rows = [(str(node.id), node.name, route, _state(node, route)) for node, route in found]
    say_table(("ID", "NODE", "ROUTE", "STATE"), rows, empty="No node advertises a network.")
    choices = [(str(n.id), n.name, uses) for n in nodes if (uses := _uses(n.accepts))]
    if choices:
        click.echo()
        say_table(("ID", "NODE", "USES OF OTHERS"), choices)


@routes.command(help="Approve networks of a node, next to those approved already.")
@click.argument("node", shell_complete=complete.nodes)
@click.argument("routes", type=Prefixes(), nargs=-1, required=True)
@click.pass_obj
def approve(session: Session, *, node: str, routes: tuple[tuple[str, ...], ...]) -> None:
    wanted = _joined(routes)
    changed = session.server.change_node(node, NodeRequest(approve_routes=wanted))
    for route in wanted:
        if route not in changed.announced_routes:
            click.echo(
                f"{route} is approved, but {changed.name} does not advertise it yet", err=True
            )


@routes.command(help="Take the approval of networks back.")
@click.argument("node", shell_complete=complete.nodes)
@click.argument("routes", type=Prefixes(), nargs=-1, required=True)
@click.pass_obj
def unapprove(session: Session, *, node: str, routes: tuple[tuple[str, ...], ...]) -> None:
    session.server.change_node(node, NodeRequest(unapprove_routes=_joined(routes)))


@routes.command(help="Let NODE carry ROUTES whenever it can, others stand by; no ROUTES: as it is.")
@click.argument("node", shell_complete=complete.nodes)
@click.argument("routes", type=Prefixes(), nargs=-1)
@click.pass_obj
def prefer(session: Session, *, node: str, routes: tuple[tuple[str, ...], ...]) -> None:
    wanted = _joined(routes)
    changed = session.server.change_node(node, NodeRequest(prefer_routes=wanted))
    for route in wanted:
        if route not in changed.announced_routes:
            text = f"{route} prefers {changed.name}, which does not advertise it yet"
            click.echo(text, err=True)


@routes.command(help="Choose which networks of others NODE is shown, whatever it asks for itself.")
@click.argument("node", shell_complete=complete.nodes)
@click.option("--all", "everything", is_flag=True, help="All that the policy lets it use.")
@click.option("--none", "nothing", is_flag=True, help="No network at all.")
@click.option("--only", type=Prefixes(), help="These, and narrower ones in them.")
@click.option("--except", "refused", type=Prefixes(), help="All but these.")
@click.pass_obj
def accept(
    session: Session,
    *,
    node: str,
    everything: bool,
    nothing: bool,
    only: tuple[str, ...] | None,
    refused: tuple[str, ...] | None,
) -> None:
    if everything + nothing + (only is not None or refused is not None) != 1:
        raise click.UsageError("say one of --all, --none, or --only and --except with networks")
    choice = RouteChoiceDocument(only=() if nothing else only, refused=refused or ())
    session.server.change_node(node, NodeRequest(accepts=choice))


def _joined(words: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(route for word in words for route in word))


def _uses(choice: RouteChoiceDocument) -> str:
    """Say which networks of others a node is shown, "" for all."""
    words = [f"not {route}" for route in choice.refused]
    if choice.only is not None:
        words = [f"only {', '.join(choice.only)}" if choice.only else "none", *words]
    return ", ".join(words)


def _state(node: NodeDocument, route: str) -> str:
    preferred = ", preferred" if route in node.preferred_routes else ""
    return _approval(node, route) + preferred


def _approval(node: NodeDocument, route: str) -> str:
    if route not in node.announced_routes:
        if route not in node.approved_routes:
            return click.style("not advertised", dim=True)
        return click.style("approved, not advertised", dim=True)
    if route not in node.approved_routes:
        return click.style("waits for approval", fg="yellow")
    if route in node.primary_routes or route in EXITS:
        return click.style("approved", fg="green")
    if not node.reachable:
        return click.style("approved, does not answer", fg="red")
    return click.style("approved, stands by", fg="green", dim=True)


def _document(node: NodeDocument, route: str) -> dict[str, object]:
    return {
        "node_id": node.id,
        "node": node.name,
        "route": route,
        "announced": route in node.announced_routes,
        "approved": route in node.approved_routes,
        "primary": route in node.primary_routes,
        "preferred": route in node.preferred_routes,
    }
