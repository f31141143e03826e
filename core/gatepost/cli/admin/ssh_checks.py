"""`gatepost admin ssh-checks`: sign-ins over SSH whose rule asks who is there."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.localapi.words import ago

_ID = click.argument("check", metavar="ID", shell_complete=complete.ssh_checks)


@click.group(
    "ssh-checks",
    help="Sign-ins over SSH that wait, because a rule of the policy has the action check. "
    "Confirm one when you know that it is the person who should be there. ID is the last part "
    "of the page's address.",
)
def ssh_checks() -> None: ...


@ssh_checks.command("list", help="List who waits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.server.ssh_checks()
    if as_json:
        say_json(documents)
        return
    now = session.now()
    rows = [(d.id, d.source, d.destination, d.login, ago(d.created, now)) for d in documents]
    say_table(("ID", "FROM", "TO", "AS", "SINCE"), rows, empty="Nobody waits.")


@ssh_checks.command(help="Let a sign-in go on.")
@_ID
@click.pass_obj
def approve(session: Session, *, check: str) -> None:
    session.server.approve_ssh(_last_part(check))


@ssh_checks.command(help="End a sign-in.")
@_ID
@click.pass_obj
def deny(session: Session, *, check: str) -> None:
    session.server.deny_ssh(_last_part(check))


def _last_part(text: str) -> str:
    """Take the id or the whole address that is shown at the sign-in."""
    return text.rstrip("/").rpartition("/")[2]
