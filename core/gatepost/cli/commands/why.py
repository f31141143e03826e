"""`gatepost why`: what explains the path to a peer, and what would make it better."""

from __future__ import annotations

import sys

import click

from gatepost.cli import complete
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.cli.values import Duration
from gatepost.localapi.words import age, milliseconds
from gatepost.model.status import FindingDocument, TryDocument, WhyDocument

_COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command(
    help="Say how a peer is reached, what was tried, what keeps a better path away and what would"
    " fix it. PEER is a name or a mesh address. The exit code is 1 when it does not answer."
)
@click.argument("peer", shell_complete=complete.peers)
@click.option("--timeout", type=Duration(), default="5s", help="How long to try to reach it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def why(session: Session, *, peer: str, timeout: float, as_json: bool) -> None:
    answer = session.node.why(peer, timeout)
    if as_json:
        say_json(answer)
    else:
        _say(answer)
    if not answer.answered:
        sys.exit(1)


def _say(answer: WhyDocument) -> None:
    click.echo(click.style(answer.summary, bold=True))
    for finding in answer.findings:
        _say_finding(finding)
    if not answer.findings and answer.path == "direct":
        click.echo("There is nothing to fix.")
    if answer.tries:
        click.echo("\nTried:")
        rows = [_row(one) for one in answer.tries]
        say_table(("PATH", "VIA", "TOLD BY", "PINGS", "ANSWERS", "LAST ANSWER", "LATENCY"), rows)
    if answer.changes:
        click.echo("\nChanges of path:")
        for change in answer.changes:
            moved = f"{change.before} -> {change.after}"
            click.echo(f"  {age(change.ago)} ago: {moved}, because {change.reason}")


def _say_finding(finding: FindingDocument) -> None:
    mark = click.style(f"{finding.level}:", fg=_COLORS[finding.level])
    click.echo(f"\n{mark} {finding.text}")
    if finding.fix:
        click.echo(f"  To fix: {finding.fix}")


def _row(one: TryDocument) -> tuple[str, ...]:
    answered = "never" if one.answered is None else f"{age(one.answered)} ago"
    if one.trouble:
        answered = one.trouble
    counts = str(one.pings), str(one.answers)
    return one.path, one.via, one.origin, *counts, answered, milliseconds(one.latency)
