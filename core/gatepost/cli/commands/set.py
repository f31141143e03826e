"""`gatepost set`: change settings without going up or down."""

from __future__ import annotations

from typing import Any

import click

from gatepost.cli.commands.settings_flags import make_request, settings_flags
from gatepost.cli.output import say_json
from gatepost.cli.session import Session
from gatepost.model.status import Status, UpRequest


@click.command("set", help="Change the settings that are given, and no others.")
@settings_flags
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
@click.pass_obj
def change(
    session: Session,
    /,
    *,
    as_json: bool,
    **settings: Any,  # Any: the shared flags, see make_request
) -> None:
    if all(value is None for value in settings.values()) and not as_json:
        raise click.UsageError("nothing to change: give at least one flag, see gatepost set --help")
    request = make_request(**settings)
    answer = session.node.change_settings(request)
    if as_json:
        say_json(answer)
    if request.login_server or request.exit_node:
        _say_what_is_to_come(request, session.node.status(peers=False))


def _say_what_is_to_come(request: UpRequest, status: Status) -> None:
    """Say what nobody can know yet, though the setting is taken."""
    if request.login_server and status.state == "NeedsLogin":
        click.echo(f"{status.login_server} is asked only when you say so: gatepost up", err=True)
    if request.exit_node and status.node is None:
        click.echo(
            f"warning: this box knows of no mesh yet, so it cannot say whether {request.exit_node} "
            "is an exit node; until it is, nothing goes out",
            err=True,
        )
