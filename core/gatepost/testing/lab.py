"""The lab as a program: `./run`, `./run --scene NAME`, `./run in MACHINE ...`, `./run clean`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import NoReturn

import msgspec

from gatepost.errors import GatepostError
from gatepost.testing import scenes
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.lab_proof import await_pairs, ping_pairs, transfer
from gatepost.testing.lab_register import enter, lab_name, remove_leftovers, write_register
from gatepost.testing.lab_report import Report, make_report, text
from gatepost.testing.lab_web import pages
from gatepost.testing.netns import missing_programs
from gatepost.testing.scene_report import play, table
from gatepost.testing.topology import Nat

SITES = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED, "c": Nat.PORT_RESTRICTED}
NEEDED = (  # by labs and scenes, from the packages that ./run installs
    *("curl", "dig", "ip", "iperf3", "nft", "nsenter", "pgrep", "ping", "pkill"),
    *("setpriv", "ss", "sysctl", "unshare", "wg"),
)


def main() -> int:
    options = _parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _on_terminate)
    # A shell starts what it puts into the background deaf to Ctrl-C; who sends it means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if options.action == "in":
            return enter(options.machine, options.command, options.lab)
        if options.action == "clean":
            for directory in remove_leftovers():
                print(f"removed {directory}")  # noqa: T201  # this is a program
            return 0
        if options.scene is not None:
            return _scene(options.scene, as_json=options.json)
        return _run(once=options.once, as_json=options.json, keep_logs=options.keep_logs)
    except GatepostError as error:
        print(f"the lab failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _on_terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave as Ctrl-C does, so that everything is taken down."""
    sys.exit(128 + signal.SIGTERM)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="prove that it works, then end")
    parser.add_argument(
        "--scene", metavar="NAME", help=f"show one thing, then end: {', '.join(scenes.names())}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--keep-logs", action="store_true", help="leave the lab's directory")
    parser.set_defaults(action="run")
    actions = parser.add_subparsers()
    inside = actions.add_parser("in", help="run a command in a machine of the running lab")
    inside.add_argument("--lab", metavar="NAME", default="", help="which, if several are running")
    inside.add_argument("machine", help="box-a, host-a, router-b, internet ...")
    inside.add_argument("command", nargs=argparse.REMAINDER, help="default: a shell")
    inside.set_defaults(action="in")
    actions.add_parser("clean", help="remove what a killed lab left").set_defaults(action="clean")
    return parser.parse_args(arguments)


def _check_machine() -> None:
    """Raise GatepostError when no lab can be built here."""
    if os.geteuid() != 0:
        raise GatepostError("the lab needs root, for network namespaces. Try: sudo ./run")
    if missing := missing_programs(NEEDED):
        raise GatepostError(f"missing programs: {', '.join(missing)}; ./run installs them")


def _scene(name: str, *, as_json: bool) -> int:
    scene = scenes.find(name)
    _check_machine()
    say = _say_to(sys.stderr.fileno() if as_json else sys.stdout.fileno())
    report = play(name, scene, say)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())  # noqa: T201
    else:
        for line in table(report):
            say(line)
    return 0 if report.holds else 1


def _run(*, once: bool, as_json: bool, keep_logs: bool) -> int:
    _check_machine()
    say = _say_to(sys.stderr.fileno() if as_json else sys.stdout.fileno())
    seconds: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        with _timed(seconds, "bring_up"):
            lab = stack.enter_context(bring_up(SITES, say=say, keep=keep_logs))
        write_register(lab)
        report = _prove(lab, say, seconds)
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())  # noqa: T201
        else:
            for line in text(report):
                say(line)
        if keep_logs:
            say(f"logs: {lab.directory}")
        if not once:
            _stay(lab, say)
    return 0 if report.works else 1


def _prove(lab: Lab, say: Callable[[str], None], seconds: dict[str, float]) -> Report:
    say("pinging from every LAN host to every other one")
    with _timed(seconds, "first_pings"):
        await_pairs(lab.sites)
    pairs = ping_pairs(lab.sites)
    one, other = lab.sites[1], lab.sites[2]
    say(f"sending TCP from {one.host.name} to {other.host.name}")
    throughput = transfer(one.host, other.host, str(other.host_v4))
    return make_report(lab, pairs, throughput, seconds)


def _stay(lab: Lab, say: Callable[[str], None]) -> None:
    with pages(lab.boxes.values()) as served:
        say("")
        say("to look further, in another terminal:")
        for box in lab.boxes.values():
            say(f"  ./run in {box.name} gatepost status")
        say(f"  ./run in {lab.coordination.site.box.name} gatepost admin nodes list")
        say(f"  ./run in {lab.sites[1].host.name} ping {lab.sites[2].host_v4}")
        say(f"  (./run in --lab {lab_name(lab.directory)} ..., while other labs run, too)")
        say("web pages, on this machine:")
        for page in served:
            say(f"  {page.box.name}  {page.url}  setup code {page.setup_code}")
        say("")
        say("Ctrl-C ends the lab")
        while True:
            signal.pause()


def _say_to(descriptor: int) -> Callable[[str], None]:
    """Return a function that prints a line at once, also into a pipe."""

    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return say


@contextlib.contextmanager
def _timed(seconds: dict[str, float], step: str) -> Generator[None]:
    began = time.monotonic()
    yield
    seconds[step] = time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
