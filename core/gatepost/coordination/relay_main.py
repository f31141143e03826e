"""`gatepost-derp`: a DERP relay without a coordination server, with STUN beside it.

It asks a URL whom to let in, and can be one of several servers of a region.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from gatepost.coordination.keys import derp_key
from gatepost.coordination.listen import state_directory, tcp_socket, udp_socket
from gatepost.coordination.options import read_options
from gatepost.coordination.relay_file import RelayFile, read_relay_file
from gatepost.coordination.relay_service import RelayService
from gatepost.errors import GatepostError
from gatepost.localapi.listen import only_members, serve_local
from gatepost.localapi.router import Router
from gatepost.model.keys import NodePublic
from gatepost.net.derp_admission import UrlAdmission
from gatepost.net.http_server import Limits, Request, Response, Upgrade, serve
from gatepost.net.journal import set_up_logging
from gatepost.net.meta_certificate import meta_certificate
from gatepost.net.notify import Notifier
from gatepost.net.own_certificate import own_certificate
from gatepost.net.stun_server import serve_stun
from gatepost.net.tls import server_context

log = logging.getLogger("gatepost.derp")

TICK = 1.0  # seconds
Ask = Callable[[NodePublic, str], Awaitable[bool | None]]
RECHECK = 300.0  # seconds after which all clients have been asked for again
_SOCKET_MODE = 0o660
_SPARE = 1024  # connections over those of the clients: probes, greetings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status: 0 told to stop, 1 could not start or go on."""
    options = read_options(
        arguments,
        program="gatepost-derp",
        settings=Path("/etc/gatepost/derp.toml"),
        description="A DERP relay with STUN.",
    )
    set_up_logging("gatepost-derp", logging.DEBUG if options.verbose else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        settings = read_relay_file(options.settings)
        with state_directory(options.state_directory) as directory:
            asyncio.run(run(settings, directory, options.socket))
    except GatepostError as error:
        print(f"gatepost-derp: {error}", file=sys.stderr)  # noqa: T201  # for the operator
        return 1
    return 0


async def run(settings: RelayFile, directory: Path, socket_path: Path) -> None:
    """Build everything, serve until SIGTERM or SIGINT, and end in good order."""
    async with AsyncExitStack() as stack:
        http = [tcp_socket("listen", a) for a in settings.listen]
        https = [tcp_socket("listen-tls", a) for a in settings.listen_tls]
        stun = serve_stun([udp_socket("stun", a) for a in settings.stun])
        stack.callback(stun.close)

        private = derp_key(directory)
        context, pin = _certificate(settings, directory, private.public)
        asking = _asking(settings)
        relay = RelayService(private, _anybody if asking is None else asking.admit, settings.relay)
        stack.push_async_callback(relay.close)

        async def handle(request: Request) -> Response | Upgrade:
            return relay.server.handle(request)

        limits = Limits(body=4 << 10, connections=settings.relay.limits.clients + _SPARE)
        for sockets, tls in ((http, None), (https, context)):
            server = await serve(handle, sockets, tls=tls, limits=limits)
            stack.push_async_callback(server.close)
        local = await serve_local(
            Router(relay.routes(), only_members(os.getuid())), socket_path, mode=_SOCKET_MODE
        )
        stack.push_async_callback(local.close)
        log.info("relaying as %s, certificate %s", settings.host, pin or "by an authority")
        await _serve_until_told(relay, asking)


def _certificate(
    settings: RelayFile, directory: Path, key: NodePublic
) -> tuple[ssl.SSLContext, str]:
    """Return the listeners' context, and the pin of a certificate that we signed."""
    now = datetime.now(UTC)
    meta = meta_certificate(key, now)
    if settings.certificate is not None:
        return server_context(*settings.certificate, more=meta), ""
    own = own_certificate(directory / "tls.pem", [settings.host], now)
    return server_context(own.path, more=meta), own.pin


def _asking(settings: RelayFile) -> UrlAdmission | None:
    if settings.verify is None:
        return None
    return UrlAdmission(settings.verify, is_open=settings.verify_fail_open)


async def _anybody(_key: NodePublic, _address: str) -> bool:
    """Let everybody in, as `admit = "anybody"` says."""
    return True


async def _serve_until_told(relay: RelayService, asking: UrlAdmission | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(relay.run(), name="mesh"),
            group.create_task(_keep_alive(notifier), name="watchdog"),
        ]
        if asking is not None:
            running.append(group.create_task(recheck(relay, asking.ask), name="recheck"))
        notifier.ready("relaying")
        await stop.wait()
        notifier.stopping()
        log.info("stopping")
        for task in running:
            task.cancel()


async def _keep_alive(notifier: Notifier) -> None:
    while True:
        await asyncio.sleep(TICK)
        notifier.alive()


async def recheck(relay: RelayService, ask: Ask, *, seconds: float = RECHECK) -> None:
    """Ask for each client again and again: who was deleted must not stay for as long as it likes.

    Only a clear no ends a connection. The questions are spread over `seconds`.
    """
    while True:
        clients = [client for client in relay.server.clients() if not client.mesh]
        for client in clients:
            await asyncio.sleep(seconds / len(clients))
            if await ask(client.key, client.address) is False:
                log.info("ending the connection of %s: it may not be here", client.key.short)
                relay.server.expel(client.key)
        if not clients:
            await asyncio.sleep(seconds)


if __name__ == "__main__":
    sys.exit(main())
