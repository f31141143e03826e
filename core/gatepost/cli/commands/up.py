"""`gatepost up`: join, or come back, and wait until it is so."""

from __future__ import annotations

from typing import Any

import click

from gatepost.cli.commands.settings_flags import make_request, read_auth_key, settings_flags
from gatepost.cli.output import say_json
from gatepost.cli.session import Session
from gatepost.cli.values import Duration
from gatepost.errors import RefusedError, SettingsError, UnreachableError
from gatepost.model.status import Status, UpRequest

_QUICK, _QUICK_UNTIL = 0.02, 2.0  # seconds: joining takes well under one when a key is given
_SLOW = 0.5  # seconds: now it waits for a person


@click.command(help="Bring this node into the mesh and wait until it runs.")
@settings_flags
@click.option(
    "--auth-key",
    "--authkey",
    envvar="GATEPOST_AUTH_KEY",
    help="A pre-auth key, or file:PATH of one (a command line is seen by all users).",
)
@click.option("--force-reauth", is_flag=True, help="Sign in again although it is not needed.")
@click.option("--timeout", type=Duration(), default="0", help="Wait this long; 0 is forever.")
@click.option("--json", "as_json", is_flag=True, help="Print each step as a JSON document.")
@click.pass_obj
def up(
    session: Session,
    /,
    *,
    auth_key: str | None,
    force_reauth: bool,
    timeout: float,
    as_json: bool,
    **settings: Any,  # Any: the shared flags, see make_request
) -> None:
    request = make_request(auth_key=read_auth_key(auth_key), force_reauth=force_reauth, **settings)
    before = _key(session.node.status(peers=False)) if force_reauth else ""
    _follow(session, session.node.up(request), timeout, before, as_json=as_json)
    if request.exit_node:
        _look_for_exit(session, request.exit_node)


def _look_for_exit(session: Session, name: str) -> None:
    """Warn if it is none: it was taken before this box knew who is in the mesh."""
    try:
        session.node.change_settings(UpRequest(exit_node=name))
    except SettingsError as error:
        click.echo(f"warning: {error}; until it is, nothing goes out", err=True)
        click.echo(f"  {error.hint or 'gatepost exit-node list'}", err=True)


def _follow(
    session: Session, status: Status, timeout: float, before: str, *, as_json: bool
) -> None:
    """Show what must be done by a person, until the node runs or the time is over.

    `before` is the key that must be another by then, or "".
    """
    started = session.now()
    shown = warned = ""
    while status.state != "Running" or (before and _key(status) == before):
        _raise_if_refused(status, always=bool(before))
        if (away := _unreachable(status)) and away != warned:
            warned = away
            click.echo(f"{away}; still trying", err=True)
        step = status.auth_url or status.state * (status.state == "NeedsMachineAuth")
        if step and step != shown:
            shown = step
            _show_step(status, as_json=as_json)
        waited = session.now() - started
        if timeout and waited >= timeout:
            raise UnreachableError(
                f"not running after {timeout:g} s; the state is {status.state}",
                hint="the daemon goes on trying; look with: gatepost status",
            )
        session.wait(_QUICK if waited < _QUICK_UNTIL else _SLOW)
        status = session.node.status(peers=False)
    if as_json:
        say_json(status)
    elif shown:
        click.echo("Success.", err=True)


def _key(status: Status) -> str:
    return status.node.key if status.node else ""


def _raise_if_refused(status: Status, *, always: bool) -> None:
    refused = (n for n in status.notices if n.code.startswith("login") and n.level == "error")
    if (always or status.state == "NeedsLogin") and (notice := next(refused, None)):
        raise RefusedError(notice.text)


def _unreachable(status: Status) -> str:
    return next((n.text for n in status.notices if n.code == "server-unreachable"), "")


def _show_step(status: Status, *, as_json: bool) -> None:
    if as_json:
        say_json(status)
    elif status.auth_url:
        click.echo(f"\nTo sign in, visit:\n\n\t{status.auth_url}\n", err=True)
    else:
        click.echo("Waiting for an administrator to approve this machine.", err=True)
