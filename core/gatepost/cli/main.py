"""`gatepost`: the entry point, the list of commands, and errors to exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from gatepost.cli.lazy import LazyGroup
from gatepost.cli.session import Session
from gatepost.errors import GatepostError, UnreachableError

FAILED = 1
UNREACHABLE = 3

_PLACES = {
    "up": "gatepost.cli.commands.up:up",
    "down": "gatepost.cli.commands.down:down",
    "status": "gatepost.cli.commands.status:status",
    "ping": "gatepost.cli.commands.ping:ping",
    "why": "gatepost.cli.commands.why:why",
    "via": "gatepost.cli.commands.via:via",
    "ip": "gatepost.cli.commands.ip:ip",
    "exit-node": "gatepost.cli.commands.exit_node:exit_node",
    "exit-provider": "gatepost.cli.commands.exit_provider:exit_provider",
    "site-to-site": "gatepost.cli.commands.site_to_site:site_to_site",
    "lan": "gatepost.cli.commands.lan:lan",
    "set": "gatepost.cli.commands.set:change",
    "logout": "gatepost.cli.commands.logout:logout",
    "wake": "gatepost.cli.commands.wake:wake",
    "wireguard": "gatepost.cli.commands.wireguard:wireguard",
    "version": "gatepost.cli.commands.version:version",
    "plugin": "gatepost.cli.commands.plugin:plugin",
    "plan": "gatepost.cli.commands.plan:plan",
    "explain": "gatepost.cli.commands.explain:explain",
    "netcheck": "gatepost.cli.commands.netcheck:netcheck",
    "admin": "gatepost.cli.admin.group:admin",
    "web-setup-code": "gatepost.cli.commands.web_setup_code:web_setup_code",
    "completion": "gatepost.cli.commands.completion:completion",
}

_HELP = """Join sites into one network.

\b
Exit codes:
  0  done, and it is so
  1  failed, or it is not so (a node that is not running, a peer that does not answer)
  2  the command line is wrong
  3  the daemon is not running or does not answer
"""


@click.group(
    cls=LazyGroup,
    places=_PLACES,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    envvar="GATEPOST_SOCKET",
    help="The node's local socket.  [default: /run/gatepost/gatepostd.sock]",
)
@click.pass_context
def cli(context: click.Context, socket: Path | None) -> None:
    context.color = _wants_color()
    context.obj = Session(node_socket=socket)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line with these words, or with the program's own."""
    try:
        status = cli.main(arguments, prog_name="gatepost", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("gatepost: interrupted", err=True)
        sys.exit(FAILED)
    except GatepostError as error:
        sys.exit(complain(error))
    sys.exit(status if isinstance(status, int) else 0)


def complain(error: GatepostError) -> int:
    """Show an error and its way out on stderr, and return the exit code for it."""
    name = click.style("gatepost:", fg="red", bold=True)
    click.echo(f"{name} {error}", err=True, color=_wants_color())
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
    return UNREACHABLE if isinstance(error, UnreachableError) else FAILED


def _wants_color() -> bool | None:
    """Return False when the user asked for none (no-color.org); else the terminal decides."""
    return False if os.environ.get("NO_COLOR") else None
