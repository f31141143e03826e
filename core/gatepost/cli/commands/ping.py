"""`gatepost ping`: does a peer answer, and by which path."""

from __future__ import annotations

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json
from gatepost.cli.session import Session
from gatepost.cli.values import Duration
from gatepost.errors import GatepostError
from gatepost.localapi.words import milliseconds
from gatepost.model.status import PingDocument, PingKind

_BETWEEN = 1.0  # seconds


class NoAnswer(GatepostError):  # noqa: N818  # named for what happened
    """It is not so: the peer did not answer, or not by a direct path."""


@click.command(
    help="Ask a peer if it is there. TARGET is a name or a mesh address; the path is shown, too."
)
@click.argument("target", shell_complete=complete.peers)
@click.option("-c", "--count", type=click.IntRange(0), default=10, help="Tries; 0 is no end.")
@click.option("--timeout", type=Duration(), default="5s", help="How long to wait for each answer.")
@click.option(
    "--until-direct",
    type=bool,
    is_flag=False,
    flag_value="true",
    default=True,
    metavar="[=BOOL]",
    help="Stop at the first answer by a direct path.  [default: true]",
)
@click.option(
    "--tsmp", "kind", flag_value="tsmp", help="Ask the peer's daemon, through the tunnel only."
)
@click.option(
    "--icmp", "kind", flag_value="icmp", help="Ask the peer's kernel, through the tunnel only."
)
@click.option(
    "--size",
    type=click.IntRange(0, 9000),
    default=0,
    help="Octets of the whole packet; 0 is the smallest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each try as a JSON document.")
@click.pass_obj
def ping(  # noqa: PLR0913  # its flags
    session: Session,
    *,
    target: str,
    count: int,
    timeout: float,
    until_direct: bool,
    kind: PingKind | None,
    size: int,
    as_json: bool,
) -> None:
    answered = tried = 0
    while not count or tried < count:
        if tried:
            session.wait(_BETWEEN)
        tried += 1
        answer = session.node.ping(target, timeout, kind or "disco", size)
        answered += answer.latency is not None
        if as_json:
            say_json(answer)
        else:
            click.echo(describe(answer, timeout))
        if until_direct and answer.latency is not None and answer.path == "direct":
            return
    if not answered:
        raise NoAnswer(f"no answer from {target}")
    if until_direct:
        hint = f"gatepost why {target}"
        raise NoAnswer("a direct path was not established", hint=hint)


def describe(answer: PingDocument, timeout: float) -> str:
    """Say one try in one line."""
    if answer.latency is None:
        why = answer.error or f"no answer within {timeout:g} s"
        return f"{answer.target} ({answer.address}): {why}"
    form = {"derp": "DERP({})", "relay": "peer relay {}"}.get(answer.path, "{}")
    via = form.format(answer.via)
    latency = milliseconds(answer.latency)
    return f"pong from {answer.target} ({answer.address}) via {via} in {latency}"
