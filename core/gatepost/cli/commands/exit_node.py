"""`gatepost exit-node`: who offers a way to the internet, and which is the nearest."""

from __future__ import annotations

import click

from gatepost.cli.exit_choice import Tried, choose
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError
from gatepost.localapi.words import milliseconds, short_name
from gatepost.model.status import PeerDocument, Status, UpRequest

EVERYWHERE = {"0.0.0.0/0", "::/0"}
_TRIES = 4  # pings to each; the first may have to find the path
_SECONDS = 2.0  # for one of them


@click.group(name="exit-node")
def exit_node() -> None:
    """Look for nodes that offer a way to the internet."""


@exit_node.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """List the exit nodes that this node may use."""
    status = session.node.status()
    offered = _offered(status)
    if as_json:
        say_json(offered)
        return
    used = _used(session.node.settings(), status)
    rows = [
        (peer.addresses[0].split("/")[0], short_name(peer.name, status.node), _state(peer, used))
        for peer in offered
    ]
    say_table(
        ("IP", "NAME", "STATUS"),
        rows,
        empty="no exit nodes: one must offer itself (gatepost set --advertise-exit-node), be "
        "approved (gatepost admin routes) and be granted to this node by the policy",
    )


@exit_node.command()
@click.pass_obj
def suggest(session: Session) -> None:
    """Name the exit node to use: near, reached directly, not busy."""
    status = session.node.status()
    there = [peer for peer in _offered(status) if peer.online is not False]
    if not there:
        raise NotFoundError("there is no exit node online", hint="gatepost exit-node list")
    tried = [found for peer in there if (found := _try(session, peer)) is not None]
    if not tried:
        raise NotFoundError(
            f"none of {len(there)} exit nodes answers", hint=f"gatepost why {there[0].name}"
        )
    best = choose(tried, status.node.key if status.node else "")
    name = short_name(best.name, status.node)
    way = "directly" if best.is_direct else "through a relay"
    click.echo(f"{name}: {milliseconds(best.latency)} {way}, the best of {len(tried)} that answer")
    click.echo(f"use it: gatepost set --exit-node={name}")


def _offered(status: Status) -> tuple[PeerDocument, ...]:
    return tuple(peer for peer in status.peers if set(peer.routes) >= EVERYWHERE)


def _used(settings: UpRequest, status: Status) -> str:
    """Return the full name of the exit node that is chosen, "" for none or for a stranger."""
    wanted = (settings.exit_node or "").lower().rstrip(".")
    for peer in status.peers:
        names = {peer.name, short_name(peer.name, status.node), peer.name.partition(".")[0]}
        if wanted and wanted in names | {a.split("/")[0] for a in peer.addresses}:
            return peer.name
    return ""


def _state(peer: PeerDocument, used: str) -> str:
    words = ["selected"] if peer.name == used else []
    if peer.online is False:
        words.append("offline")
    return ", ".join(words) or "-"


def _try(session: Session, peer: PeerDocument) -> Tried | None:
    """Ask a few times; None when nothing came."""
    pings = [session.node.ping(peer.name, _SECONDS) for _ in range(_TRIES)]
    # The first may have gone another way, while a better one was looked for.
    last = next((p for p in reversed(pings) if p.latency is not None), None)
    if last is None:
        return None
    answers = tuple(p.latency for p in pings if p.latency is not None and p.path == last.path)
    return Tried(name=peer.name, key=peer.key, answers=answers, is_direct=last.path != "derp")
