"""`gatepost admin policy`: who may reach whom."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from gatepost.cli import complete
from gatepost.cli.lazy import LazyGroup
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import RefusedError, SettingsError
from gatepost.localapi.words import ago
from gatepost.model.policy import (
    CanDocument,
    CanRequest,
    CheckDocument,
    PairDocument,
    PolicyRequest,
    PreviewDocument,
    RuleDocument,
    UndoRequest,
    WarningDocument,
)

_FILE = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ETAG = click.option("--etag", default="", help="Only if the policy in force has this etag.")
LONGEST_LIST = 40  # names of nodes on a line


@click.group(
    cls=LazyGroup,
    places={name: f"gatepost.cli.admin.policy_edit:{name}" for name in ("add", "change", "remove")},
    help="Who may reach whom. FILE is a policy in HuJSON; - is the standard input.",
)
def policy() -> None: ...


@policy.command(help="Say whether a policy would be taken; its own tests are run, too.")
@_FILE
@_JSON
@click.pass_obj
def check(session: Session, *, file: Path, as_json: bool) -> None:
    answer = session.server.check_policy(PolicyRequest(text=_read(file)))
    if as_json:
        say_json(answer)
    _say_check(answer, file, quiet=as_json)
    if not as_json:
        click.echo("the policy would be taken", err=True)


@policy.command(help="Run a policy's tests; without FILE those of the policy in force.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@_JSON
@click.pass_obj
def test(session: Session, *, file: Path | None, as_json: bool) -> None:
    text = session.server.policy().text if file is None else _read(file)
    answer = session.server.check_policy(PolicyRequest(text=text))
    if as_json:
        say_json(answer)
    _say_check(answer, file or Path("policy"), quiet=as_json)
    if not as_json:
        click.echo(f"{answer.tests} tests passed", err=True)


def _say_check(answer: CheckDocument, file: Path, *, quiet: bool) -> None:
    """Print warnings; raise `RefusedError` with the problems, as compilers write them."""
    if not quiet:
        say_warnings(answer.warnings)
    if answer.problems:
        lines = [
            f"{file}:{p.line}:{p.column}: {p.message}" + _hint(p.hint) for p in answer.problems
        ]
        raise RefusedError("the policy is not taken:\n" + "\n".join(lines))


def _hint(hint: str) -> str:
    return f" ({hint})" if hint else ""


def say_warnings(warnings: Iterable[WarningDocument]) -> None:
    for warning in warnings:
        place = f"line {warning.line}, column {warning.column}"
        click.echo(f"warning: {place}: {warning.message} [{warning.code}]", err=True)


@policy.command(help="Show who would gain and who would lose access.")
@_FILE
@_JSON
@click.pass_obj
def preview(session: Session, *, file: Path, as_json: bool) -> None:
    answer = session.server.preview_policy(PolicyRequest(text=_read(file)))
    if as_json:
        say_json(answer)
        return
    say_warnings(answer.warnings)
    say_preview(answer)


def say_preview(answer: PreviewDocument) -> None:
    rows = [_pair("+", pair) for pair in answer.gained]
    rows += [_pair("-", pair) for pair in answer.lost]
    say_table(("", "FROM", "TO", "WHAT"), rows, empty="Nobody gains or loses access.")
    for sign, more in (("+", answer.more_gained), ("-", answer.more_lost)):
        if more:
            click.echo(f"{sign} {more} more", err=True)


def _pair(sign: str, pair: PairDocument) -> tuple[str, ...]:
    colour = "green" if sign == "+" else "red"
    return click.style(sign, fg=colour), pair.source, pair.destination, pair.what


@policy.command("set", help="Bring a policy into force, if it can be read and passes its tests.")
@_FILE
@_ETAG
@click.option("--note", default="", help="Why; shown in the history.")
@click.pass_obj
def set_(session: Session, *, file: Path, etag: str, note: str) -> None:
    saved = session.server.set_policy(PolicyRequest(text=_read(file), etag=etag, note=note))
    say_warnings(saved.warnings)
    click.echo(f"version {saved.version} is in force (etag {saved.etag})", err=True)


@policy.command(help="Print the policy in force, or an older version.")
@click.option("--version", "number", type=click.IntRange(min=1), help="Of the history.")
@_JSON
@click.pass_obj
def get(session: Session, *, number: int | None, as_json: bool) -> None:
    server = session.server
    found = server.policy() if number is None else server.policy_version(number)
    if as_json:
        say_json(found)
        return
    click.echo(found.text, nl=not found.text.endswith("\n"))
    click.echo(f"etag {found.etag}", err=True)


@policy.command(help="List every version with its author; --diff shows what each changed.")
@click.option("--diff", is_flag=True, help="With what each changed.")
@_JSON
@click.pass_obj
def history(session: Session, *, diff: bool, as_json: bool) -> None:
    versions = session.server.policy_history()
    if as_json:
        say_json(versions)
        return
    now = session.now()
    rows = [(str(v.version), v.author, ago(v.created, now), v.note or "-") for v in versions]
    if not diff:
        say_table(("VERSION", "AUTHOR", "SET", "NOTE"), rows, empty="The policy was never set.")
        return
    for version, (number, author, since, note) in zip(versions, rows, strict=True):
        click.echo(click.style(f"version {number} by {author}, {since}: {note}", bold=True))
        click.echo(version.diff)


@policy.command(help="Bring an older version back; without VERSION the one before.")
@click.argument("version", type=click.IntRange(min=1), required=False)
@_ETAG
@click.pass_obj
def undo(session: Session, *, version: int | None, etag: str) -> None:
    saved = session.server.undo_policy(UndoRequest(version=version or 0, etag=etag))
    click.echo(f"version {saved.version} is in force: {saved.note}", err=True)


@policy.command(
    help="Say whether SOURCE may send to TARGET (HOST:PORT), and by which rule. Either is a "
    "node, an address, or what a policy may name. The exit status is 1 for no."
)
@click.argument("source", shell_complete=complete.nodes)
@click.argument("target", metavar="HOST:PORT", shell_complete=complete.nodes)
@click.option("--proto", default="", help="A protocol by name or number.  [default: tcp]")
@click.option("--as", "login", default="", help="Ask about SSH as this user of HOST instead.")
@_JSON
@click.pass_context
def can(
    context: click.Context, *, source: str, target: str, proto: str, login: str, as_json: bool
) -> None:
    host, port = _split(target, needs_port=not login)
    request = CanRequest(source=source, destination=host, port=port, protocol=proto, login=login)
    answer = context.ensure_object(Session).server.can(request)
    if as_json:
        say_json(answer)
    else:
        _say_answer(answer)
    context.exit(0 if answer.allowed else 1)


def _say_answer(answer: CanDocument) -> None:
    word = click.style("yes", fg="green") if answer.allowed else click.style("no", fg="red")
    click.echo(f"{word}: {answer.reason}")
    if len(answer.pairs) > 1:
        rows = [(p.source, p.destination, "yes" if p.allowed else "no") for p in answer.pairs]
        say_table(("FROM", "TO", ""), rows)
    for rule in answer.rules:
        _say_rule(rule)
    for name, values in answer.capabilities.items():
        click.echo(f"capability {name} {' '.join(values)}".rstrip())


def _say_rule(rule: RuleDocument) -> None:
    where = f"line {rule.line}, column {rule.column}"
    click.echo(f"{rule.section} rule {rule.number} ({where}): {rule.action}")
    for meaning in rule.meanings:
        names = (*meaning.nodes, *meaning.addresses)
        shown = ", ".join(names[:LONGEST_LIST]) or "nobody"
        more = f" and {len(names) - LONGEST_LIST} more" if len(names) > LONGEST_LIST else ""
        click.echo(f"  {meaning.name} = {shown}{more}")


def _split(target: str, *, needs_port: bool) -> tuple[str, int]:
    """Split HOST:PORT at the last colon; without a port, 0."""
    host, _, port = target.rpartition(":")
    if host and port.isascii() and port.isdigit():
        return host.strip("[]"), int(port)
    if needs_port:
        raise SettingsError(f"{target!r} has no port: write HOST:PORT, such as web:443")
    return target.strip("[]"), 0


def _read(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return raw.decode()
    except FileNotFoundError as error:
        raise SettingsError(f"{file} does not exist") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is no text: {error}") from error
