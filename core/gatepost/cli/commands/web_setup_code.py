"""`gatepost web-setup-code`: the code that the web page asks for before its first password."""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.errors import DeniedError, NotFoundError

_STATE = Path("/var/lib/gatepost-web")


@click.command(help="Print the code for setting the web page's first password.")
@click.option(
    "--state-directory",
    type=click.Path(path_type=Path),
    default=_STATE,
    envvar="GATEPOST_WEB_STATE",
    show_default=True,
    help="Where the web page keeps what it needs.",
)
def web_setup_code(state_directory: Path) -> None:
    path = state_directory / "setup-code"
    try:
        code = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        if (state_directory / "password").exists():
            raise NotFoundError(
                "the web page has its password already",
                hint=f"to start over, remove {state_directory}/password and restart gatepost-web",
            ) from error
        raise NotFoundError(
            f"there is no {path}; the web page has not been started",
            hint="start it: sudo systemctl start gatepost-web",
        ) from error
    except PermissionError as error:
        raise DeniedError(f"you may not read {path}", hint="use sudo") from error
    click.echo(code)
