"""`gatepost ip`: mesh addresses, for scripts."""

from __future__ import annotations

from ipaddress import ip_address

import click

from gatepost.cli import complete
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError, RefusedError
from gatepost.localapi.words import short_name
from gatepost.model.status import PeerDocument, SelfDocument, Status


@click.command(help="Print the mesh addresses of this node, or of a peer.")
@click.argument("peer", required=False, shell_complete=complete.peers)
@click.option("-4", "--ipv4", "four", is_flag=True, help="Only IPv4.")
@click.option("-6", "--ipv6", "six", is_flag=True, help="Only IPv6.")
@click.option("-1", "--first", is_flag=True, help="Only one address.")
@click.pass_obj
def ip(session: Session, *, peer: str | None, four: bool, six: bool, first: bool) -> None:
    if four and six:
        raise click.UsageError("-4 and -6 exclude each other")
    status = session.node.status(peers=peer is not None)
    versions = {4} if four else {6} if six else {4, 6}
    parsed = (ip_address(text.split("/")[0]) for text in _addresses(status, peer))
    chosen = [address for address in parsed if address.version in versions]
    if not chosen:
        raise RefusedError(f"{peer or 'this node'} has no IPv{min(versions)} address")
    for address in chosen[:1] if first else chosen:
        click.echo(address)


def _addresses(status: Status, peer: str | None) -> tuple[str, ...]:
    if peer is None:
        if status.node is None:
            raise RefusedError(
                f"this node has no address yet; the state is {status.state}",
                hint="join with: gatepost up",
            )
        return status.node.addresses
    everyone: list[PeerDocument | SelfDocument] = [*status.peers]
    if status.node is not None:
        everyone.append(status.node)
    wanted = peer.lower().rstrip(".")
    for node in everyone:
        names = {node.name, short_name(node.name, status.node)}
        if wanted in names or wanted in {a.split("/")[0] for a in node.addresses}:
            return node.addresses
    raise NotFoundError(f"no peer is called {peer!r}", hint="see their names: gatepost status")
