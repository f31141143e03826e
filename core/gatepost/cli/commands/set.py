"""`gatepost set`: change settings without going up or down."""

from __future__ import annotations

from typing import Any

import click

from gatepost.cli.commands.settings_flags import make_request, settings_flags
from gatepost.cli.output import say_json
from gatepost.cli.session import Session


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
    answer = session.node.change_settings(make_request(**settings))
    if as_json:
        say_json(answer)
