"""`gatepost status`: this node and its peers, one line each."""

from __future__ import annotations

import sys

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.localapi.words import describe_path, is_active, short_name, size
from gatepost.model.status import PeerDocument, RelayServerDocument, SelfDocument, Status


@click.command(help="Show this node and its peers. The exit code is 1 when it is not running.")
@click.option("--peers/--no-peers", default=True, help="With or without the peers.")
@click.option("--active", is_flag=True, help="Only peers with traffic in the last minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
@click.pass_obj
def status(session: Session, *, peers: bool, active: bool, as_json: bool) -> None:
    answer = session.node.status(peers=peers)
    now = session.now()
    chosen = tuple(peer for peer in answer.peers if not active or is_active(peer, now))
    if as_json:
        say_json(_with_peers(answer, chosen))
    else:
        _say(answer, chosen, now)
    if answer.state != "Running":
        click.echo(_why_not(answer), err=True)
        sys.exit(1)


def _with_peers(answer: Status, peers: tuple[PeerDocument, ...]) -> Status:
    from msgspec.structs import replace  # noqa: PLC0415  # only for --json

    return replace(answer, peers=peers)


def _say(answer: Status, peers: tuple[PeerDocument, ...], now: float) -> None:
    rows: list[tuple[str, ...]] = []
    if answer.node is not None:
        me, system = answer.node, answer.wireguard
        device = f"this node, {system.backend} {system.device}" if system else "this node"
        owner = _owner(me.user, me.tags)
        name = short_name(me.name, me)
        rows.append((_first(me.addresses), name, owner, "-", device, "-", "-"))
    rows.extend(_row(peer, answer.node, now) for peer in peers)
    say_table(("IP", "NAME", "USER", "OS", "PATH", "RX", "TX") if rows else (), rows)
    if answer.relay_server is not None:
        click.echo(_relay(answer.relay_server))
    for notice in answer.notices:
        color = {"error": "red", "warning": "yellow"}.get(notice.level)
        click.echo(f"{click.style(notice.level, fg=color)}: {notice.text}", err=True)


def _relay(relay: RelayServerDocument) -> str:
    how = {"kernel": "in the kernel", "user space": "in user space"}[relay.forwarding]
    why = f" ({relay.reason})" if relay.reason else ""
    sessions = "1 session" if relay.sessions == 1 else f"{relay.sessions} sessions"
    carried = f"{size(relay.octets)} carried"
    return f"Peer relay at UDP port {relay.port}, {sessions}, {carried}; forwards {how}{why}."


def _row(peer: PeerDocument, me: SelfDocument | None, now: float) -> tuple[str, ...]:
    path = describe_path(peer, now)
    color = {"direct": "green", "relay": "yellow", "derp": "yellow"}.get(path.split()[0])
    shown = click.style(path, fg=color, dim=color is None)
    owner = _owner(peer.user, peer.tags)
    name, system = short_name(peer.name, me), peer.operating_system or "-"
    return _first(peer.addresses), name, owner, system, shown, size(peer.received), size(peer.sent)


def _first(addresses: tuple[str, ...]) -> str:
    return addresses[0].split("/")[0] if addresses else "-"


def _owner(user: str, tags: tuple[str, ...]) -> str:
    return ",".join(tags) or user or "-"


def _why_not(answer: Status) -> str:
    match answer.state:
        case "Stopped":
            return "gatepost is stopped; start it with: gatepost up"
        case "NeedsLogin" if answer.auth_url:
            return f"this node is not signed in; visit {answer.auth_url}"
        case "NeedsLogin":
            return "this node is not signed in; do it with: gatepost up"
        case "NeedsMachineAuth":
            return "this node waits for an administrator's approval"
        case _:
            return f"gatepost is not running yet; the state is {answer.state}"
