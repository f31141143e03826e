"""`gatepost-coordination`: builds the server and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

from gatepost.coordination.admin import AdminApi
from gatepost.coordination.certificate import certificate_of
from gatepost.coordination.database.store import Store
from gatepost.coordination.delta import Messages
from gatepost.coordination.extensions import load_extensions
from gatepost.coordination.front import Front
from gatepost.coordination.keys import derp_key, noise_key
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.listen import state_directory, tcp_socket, udp_socket
from gatepost.coordination.logins import Logins
from gatepost.coordination.machine import MachineApi
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.names_api import NamesApi
from gatepost.coordination.options import read_options
from gatepost.coordination.policy.api import PolicyApi
from gatepost.coordination.policy.file import adopt
from gatepost.coordination.presence import Presences
from gatepost.coordination.probes import Probes
from gatepost.coordination.registrar import Registrar
from gatepost.coordination.relay_guard import RelayGuard
from gatepost.coordination.relay_map import relay_map
from gatepost.coordination.relay_service import RelayService
from gatepost.coordination.settings import Settings, read_settings
from gatepost.coordination.ssh_actions import SshActions
from gatepost.coordination.ssh_api import SshCheckApi
from gatepost.coordination.ssh_checks import SshChecks
from gatepost.coordination.stream import Streams
from gatepost.coordination.times import FLOOR, newest, steady
from gatepost.coordination.world import World
from gatepost.errors import GatepostError, StateError
from gatepost.localapi.listen import only_members, serve_local
from gatepost.localapi.router import Route
from gatepost.net.control_server import NoiseServer
from gatepost.net.http_server import Limits, serve
from gatepost.net.journal import set_up_logging
from gatepost.net.notify import Notifier
from gatepost.net.stun_server import serve_stun
from gatepost.policy.refusal import PolicyRefusedError

log = logging.getLogger("gatepost.coordination")

TICK = 1.0  # seconds
Tick = Callable[[float], Awaitable[None]]  # gets the loop's clock
DATABASE = "coordination.sqlite"
_HTTP_PORT = 80
_LIMITS = Limits(body=64 << 10, connections=8192, idle=60.0)
_LOCAL_LIMITS = Limits(body=16 << 20, connections=256, idle=60.0)  # a policy may be long
_SOCKET_MODE = 0o660
_COLLECT_AFTER = (5000, 10, 5)  # new objects of which none has gone; times that; times that


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status: 0 told to stop, 1 could not start or go on."""
    options = read_options(
        arguments,
        program="gatepost-coordination",
        settings=Path("/etc/gatepost/coordination.toml"),
        description="The coordination server of a Gatepost mesh.",
    )
    level = logging.DEBUG if options.verbose else logging.INFO
    set_up_logging("gatepost-coordination", level)
    for chatty in ("alembic", "hpack", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = read_settings(options.settings)
        with state_directory(options.state_directory) as directory:
            asyncio.run(run(settings, directory, options.socket))
    except GatepostError as error:
        print(f"gatepost-coordination: {error}", file=sys.stderr)  # noqa: T201  # for the operator
        return 1
    return 0


async def run(settings: Settings, directory: Path, socket_path: Path) -> None:
    """Build everything, serve until SIGTERM or SIGINT, and end in good order."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        http = [tcp_socket("listen", a) for a in settings.listen]
        https = [tcp_socket("listen-tls", a) for a in settings.listen_tls]
        stun = serve_stun([udp_socket("stun", a) for a in settings.stun])
        stack.callback(stun.close)

        private = noise_key(directory)
        relay_key = derp_key(directory).public if settings.derp else None
        certificate = certificate_of(settings, directory, datetime.now(UTC), relay_key)
        mesh = _mesh(settings, certificate.pin)
        ledger = _open_ledger(directory / DATABASE, settings.policy_file, stack)
        messages = Messages(
            mesh, load_extensions(entry_points(group="gatepost.plugins"), settings).items
        )
        presences = Presences(ledger, loop.time, settings.ephemeral_timeout)
        streams = Streams(ledger, messages, presences, loop.time, _fraction)
        probes = _probes(ledger, streams, settings)
        logins = Logins(lambda: ledger.now, lambda: secrets.token_urlsafe(18))
        registrar = _registrar(ledger, logins, presences, settings)
        checks, ssh = _ssh(ledger, settings.server_url)
        machines = MachineApi(ledger, registrar, streams, messages, probes, ssh)
        noise = NoiseServer(private, machines.handle)
        stack.push_async_callback(noise.close)
        guard = RelayGuard(ledger)
        relay = _relay(settings, directory, guard, stack)
        derp = None if relay is None else relay.server
        front = Front(guard, logins, checks, noise, derp, private.public)
        for sockets, context in ((http, None), (https, certificate.context)):
            server = await serve(front.handle, sockets, tls=context, limits=_LIMITS)
            stack.push_async_callback(server.close)
        admin = AdminApi(
            ledger,
            logins,
            registrar,
            streams,
            mesh,
            server_url=settings.server_url,
            public_key=private.public,
        )
        more = (*_more_routes(ledger, settings, checks), *(relay.routes() if relay else ()))
        router = admin.router(only_members(os.getuid()), more)
        local = await serve_local(router, socket_path, mode=_SOCKET_MODE, limits=_LOCAL_LIMITS)
        stack.push_async_callback(local.close)

        async def tick(now: float) -> None:
            streams.tick(now)
            await presences.tick(now)
            if derp is not None:
                guard.tick(derp)

        _collect_rarely()
        await _serve_until_told(ledger, streams, probes, tick, settings, relay)


def _registrar(
    ledger: Ledger, logins: Logins, presences: Presences, settings: Settings
) -> Registrar:
    return Registrar(
        ledger,
        logins,
        presences,
        key_expiry=settings.key_expiry,
        login_url=lambda login_id: f"{settings.server_url}/register/{login_id}",
    )


def _more_routes(ledger: Ledger, settings: Settings, checks: SshChecks) -> tuple[Route, ...]:
    return (
        *PolicyApi(ledger, settings.policy_file).routes(),
        *NamesApi(ledger, settings.domain).routes(),
        *SshCheckApi(checks).routes(),
    )


def _ssh(ledger: Ledger, server_url: str) -> tuple[SshChecks, SshActions]:
    checks = SshChecks(lambda: ledger.now, lambda: secrets.token_urlsafe(18))
    return checks, SshActions(ledger, checks, lambda check_id: f"{server_url}/ssh/{check_id}")


def _probes(ledger: Ledger, streams: Streams, settings: Settings) -> Probes:
    return Probes(
        ledger,
        streams,
        server_url=settings.server_url,
        clock=asyncio.get_running_loop().time,
        token=lambda: secrets.token_urlsafe(18),
    )


def _collect_rarely() -> None:
    """Look for garbage after 250,000 new objects, and never among those of the start.

    2,000 nodes have half a million objects; looking through all of them takes 0.2 s,
    in which nobody hears of anything. An ended connection leaves 170 objects in
    cycles, so no more than some 60 MiB of them wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _relay(
    settings: Settings, directory: Path, guard: RelayGuard, stack: AsyncExitStack
) -> RelayService | None:
    if settings.derp is None:
        return None
    relay = RelayService(derp_key(directory), guard.admit, settings.derp.relay)
    stack.push_async_callback(relay.close)
    return relay


def _mesh(settings: Settings, pin: str) -> Mesh:
    plain_on_80 = any(a.port == _HTTP_PORT for a in settings.listen)
    derp_map = relay_map(settings.derp, pin, plain_on_80=plain_on_80)
    return Mesh(domain=settings.domain, derp_map=derp_map)


def _open_ledger(path: Path, policy_file: Path | None, stack: AsyncExitStack) -> Ledger:
    """Open the database; the clock starts no earlier than the newest moment in it."""
    store = Store(path)
    stack.callback(store.close)
    records, reports = store.read()
    clock = steady(
        lambda: datetime.now(UTC).timestamp(), floor=max(FLOOR, newest(records, reports))
    )
    if policy_file is not None:
        unruled = World.of(replace(records, policy=None), reports, clock())
        records = adopt(policy_file, store, records, unruled.rights.inventory, clock())
    try:
        return Ledger(store, records, reports, clock)
    except PolicyRefusedError as error:
        raise StateError(
            f"{path}: the policy in it cannot be read any more: {error}. "
            "Write a corrected one to a file and name it as policy-file in the settings."
        ) from error


async def _serve_until_told(
    ledger: Ledger,
    streams: Streams,
    probes: Probes,
    tick: Tick,
    settings: Settings,
    relay: RelayService | None,
) -> None:
    """Run what runs all the time; end it when a signal comes."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(ledger.run(), name="ledger"),
            group.create_task(streams.run(), name="streams"),
            group.create_task(probes.run(), name="probes"),
            group.create_task(_every_second(tick, notifier), name="tick"),
        ]
        if relay is not None:
            running.append(group.create_task(relay.run(), name="relay"))
        count = len(ledger.world.nodes)
        log.info("serving %s with %d nodes as %s", settings.domain, count, settings.server_url)
        notifier.ready(f"serving {settings.server_url}")
        await stop.wait()
        notifier.stopping()
        log.info("stopping")
        for task in running:
            task.cancel()


async def _every_second(tick: Tick, notifier: Notifier) -> None:
    """Let time pass, second by second; systemd hears of it."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(TICK)
        await tick(loop.time())
        notifier.alive()


def _fraction() -> float:
    """Return a number from 0 to 1 that nobody can guess."""
    return secrets.randbelow(1 << 20) / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
