"""`gatepost admin derp`."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.model.admin import RelayClientDocument, RelayDocument


@click.command(
    help="Show how the DERP relay is doing. For a relay of its own: --socket "
    "/run/gatepost-derp/admin.sock before `derp`."
)
@click.option(
    "--clients", "with_clients", is_flag=True, help="List the connections, busiest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def derp(session: Session, *, with_clients: bool, as_json: bool) -> None:
    if with_clients:
        clients = session.server.relay_clients()
        if as_json:
            say_json(clients)
        else:
            _say_clients(clients)
        return
    relay = session.server.relay()
    if as_json:
        say_json(relay)
        return
    say_table((), _facts(relay))


def _facts(relay: RelayDocument) -> list[tuple[str, str]]:
    facts = [
        ("Public key", relay.public_key),
        ("Clients", f"{relay.clients}, {relay.homes} at home here, {relay.joined} since the start"),
        ("Keys with several connections", str(relay.duplicates)),
        ("Received", f"{relay.received_packets} packets, {relay.received_octets} octets"),
        ("Sent", f"{relay.sent_packets} packets, {relay.sent_octets} octets"),
        ("Waiting", f"{relay.waiting_octets} octets"),
        ("Slowed by their rate", f"{relay.slowed} times"),
    ]
    facts += [(f"Dropped: {reason}", str(count)) for reason, count in relay.dropped.items()]
    facts += [(f"Refused: {reason}", str(count)) for reason, count in relay.refused.items()]
    if relay.mesh or relay.watchers:
        facts += [
            ("Servers that watch", str(relay.watchers)),
            ("Clients on other servers", str(relay.distant)),
            ("Forwarded", f"{relay.forwarded_packets} packets"),
        ]
    for server in relay.mesh:
        state = f"connected, {server.clients} clients" if server.connected else server.problem
        facts.append((f"Server {server.name}", state or "connecting"))
    return facts


def _say_clients(clients: tuple[RelayClientDocument, ...]) -> None:
    heads = ("Key", "Address", "For", "Kind", "Received", "Sent", "Dropped", "Waiting")
    rows = [
        (
            client.key[:20],
            client.address,
            f"{client.connected:.0f} s",
            "server" if client.mesh else ("home" if client.home else ""),
            str(client.received_packets),
            str(client.sent_packets),
            str(client.dropped_packets),
            str(client.waiting_octets),
        )
        for client in clients
    ]
    say_table(heads, rows)
