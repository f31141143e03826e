"""`gatepost admin registrations`: sign-ins that wait for somebody."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.localapi.words import ago
from gatepost.model.admin import ApproveRequest


@click.group(help="Sign-ins that wait for approval. ID is the last part of the page's address.")
def registrations() -> None: ...


@registrations.command("list", help="List who waits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.server.registrations()
    if as_json:
        say_json(documents)
        return
    now = session.now()
    rows = [
        (each.id, each.hostname, each.operating_system or "-", ago(each.created, now))
        for each in documents
    ]
    say_table(("ID", "HOST NAME", "OS", "SINCE"), rows, empty="Nobody waits.")


@registrations.command(help="Let a machine in, as a node of a user.")
@click.argument("registration", metavar="ID", shell_complete=complete.registrations)
@click.option("--user", required=True, help="Whose node it will be.", shell_complete=complete.users)
@click.pass_obj
def approve(session: Session, *, registration: str, user: str) -> None:
    session.server.approve(_last_part(registration), ApproveRequest(user=user))


@registrations.command(help="Send a machine away.")
@click.argument("registration", metavar="ID", shell_complete=complete.registrations)
@click.pass_obj
def deny(session: Session, *, registration: str) -> None:
    session.server.deny(_last_part(registration))


def _last_part(text: str) -> str:
    """Take the id or the whole address that the machine shows."""
    return text.rstrip("/").rpartition("/")[2]
