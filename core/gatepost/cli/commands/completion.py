"""`gatepost completion`: a script for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HELP = """Print the completion script of a shell.

\b
  bash: gatepost completion bash > /etc/bash_completion.d/gatepost
  zsh:  gatepost completion zsh > "${fpath[1]}/_gatepost"
  fish: gatepost completion fish > ~/.config/fish/completions/gatepost.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click knows no completion for {shell}")
    root = context.find_root()
    click.echo(_without_blanks(kind(root.command, {}, "gatepost", "_GATEPOST_COMPLETE").source()))


def _without_blanks(script: str) -> str:
    """Let bash put no blank behind "KEY=": the value comes next."""
    last = "    return 0\n"
    return script.replace(last, f"    [[ ${{COMPREPLY-}} != *= ]] || compopt -o nospace\n{last}")
