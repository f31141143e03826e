"""`gatepost admin keys`: pre-auth keys."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.cli.values import Duration, Tags
from gatepost.errors import SettingsError
from gatepost.localapi.words import until
from gatepost.model.admin import KeyDocument, KeyRequest


@click.group(help="Keys that let nodes in without a person.")
def keys() -> None: ...


@keys.command("list", help="List all pre-auth keys; their secrets are not kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.server.keys()
    if as_json:
        say_json(documents)
        return
    now = session.now()
    rows = [_row(each, now) for each in documents]
    say_table(
        ("ID", "PREFIX", "USER", "TAGS", "KIND", "USED", "EXPIRES"),
        rows,
        empty="There are no keys.",
    )


@keys.command(help="Make a key and print its secret, this once.")
@click.option(
    "--user",
    default="",
    help="Whose nodes it makes; not needed with --tag.",
    shell_complete=complete.users,
)
@click.option("--reusable", is_flag=True, help="For any number of nodes.")
@click.option("--ephemeral", is_flag=True, help="Its nodes vanish when they are offline.")
@click.option("--tag", "tags", type=Tags(), multiple=True, help="A tag for its nodes; repeatable.")
@click.option("--expiry", type=Duration(), default="1h", show_default=True, help="Valid this long.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def create(
    session: Session,
    *,
    user: str,
    reusable: bool,
    ephemeral: bool,
    tags: tuple[tuple[str, ...], ...],
    expiry: float,
    as_json: bool,
) -> None:
    together = tuple(tag for group in tags for tag in group)
    if not user and not together:
        raise SettingsError("whose nodes will they be? Give --user NAME, or --tag tag:NAME")
    if not expiry:
        raise SettingsError("a key that is never valid is of no use; give --expiry 1h or so")
    request = KeyRequest(
        user=user, reusable=reusable, ephemeral=ephemeral, tags=together, lifetime=expiry
    )
    made = session.server.create_key(request)
    if as_json:
        say_json(made)
    else:
        click.echo(made.secret)


@keys.command(help="End a key now; nodes that it let in stay.")
@click.argument("key")
@click.pass_obj
def revoke(session: Session, *, key: str) -> None:
    session.server.revoke_key(key)


def _row(key: KeyDocument, now: float) -> tuple[str, ...]:
    kind = "reusable" if key.reusable else "one-time"
    kind += ", ephemeral" if key.ephemeral else ""
    expires = "revoked" if key.revoked else until(key.expires, now)
    tags = ",".join(key.tags) or "-"
    return str(key.id), key.prefix, key.user or "-", tags, kind, str(key.used), expires
