"""`gatepost admin users`."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.localapi.words import ago
from gatepost.model.admin import UserRequest

ROLES = ("owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor", "member")


@click.group(help="Who owns nodes.")
def users() -> None: ...


@users.command("list", help="List all users.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.server.users()
    if as_json:
        say_json(documents)
        return
    now = session.now()
    rows = [
        (str(u.id), u.name, u.display_name or "-", u.role, str(u.nodes), ago(u.created, now))
        for u in documents
    ]
    heads = ("ID", "NAME", "DISPLAY NAME", "ROLE", "NODES", "CREATED")
    say_table(heads, rows, empty="There are no users.")


@users.command(help="Make a user.")
@click.argument("name")
@click.option("--display-name", default="", help="How pages show this user.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def create(session: Session, *, name: str, display_name: str, as_json: bool) -> None:
    made = session.server.create_user(UserRequest(name=name, display_name=display_name))
    if as_json:
        say_json(made)
    else:
        click.echo(f"user {made.name} has id {made.id}", err=True)


@users.command(help="Give a user another name.")
@click.argument("user", shell_complete=complete.users)
@click.argument("name")
@click.pass_obj
def rename(session: Session, *, user: str, name: str) -> None:
    session.server.change_user(user, UserRequest(name=name))


@users.command(help="Give a user a role, which a policy may name (autogroup:admin).")
@click.argument("user", shell_complete=complete.users)
@click.argument("role", type=click.Choice(ROLES))
@click.pass_obj
def role(session: Session, *, user: str, role: str) -> None:
    session.server.change_user(user, UserRequest(role=role))


@users.command(help="Delete a user that has no nodes.")
@click.argument("user", shell_complete=complete.users)
@click.pass_obj
def delete(session: Session, *, user: str) -> None:
    session.server.delete_user(user)
