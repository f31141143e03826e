"""`gatepost admin server`."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session


@click.command(help="Show how the coordination server is doing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def server(session: Session, *, as_json: bool) -> None:
    answer = session.server.server()
    if as_json:
        say_json(answer)
        return
    facts = [
        ("Version", answer.version),
        ("Address", answer.server_url),
        ("Domain", answer.domain),
        ("Public key", answer.public_key),
        ("Users", str(answer.users)),
        ("Nodes", f"{answer.nodes}, {answer.connected} connected"),
    ]
    say_table((), facts)
