"""Services that plugins ask for, on real sockets of the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator
from ipaddress import ip_address
from typing import Any

from tests.net.waiting import eventually

from gatepost.api import Listen, Service, ServiceContext, WatchFact
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.services import Services
from gatepost.net.dns_resolver import Resolver
from gatepost.net.dns_upstream import Upstreams

HERE = (ip_address("127.0.0.1"),)
FACT = WatchFact("alive")


@contextlib.asynccontextmanager
async def running() -> AsyncGenerator[tuple[Services, Inputs]]:
    inputs = Inputs()
    upstreams = Upstreams(time.monotonic)
    resolver = Resolver(upstreams.ask, time.monotonic)
    services = Services(inputs.answer_one, lambda: "{}", resolver)
    yield services, inputs
    await services.close()
    await resolver.close()
    await upstreams.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def answer(context: ServiceContext, params: Any) -> None:
    """Publish the parameters and the ports, then stay."""
    ports = [socket.socket(fileno=os.dup(number)) for number in context.sockets()]
    text = f"{params} {[p.getsockname()[1] for p in ports]} {context.status()}"
    for each in ports:
        each.close()
    await context.answer(FACT, text)
    await asyncio.Event().wait()


async def fail(_context: ServiceContext, _params: Any) -> None:
    raise ZeroDivisionError("boom")


async def test_a_service_gets_its_open_sockets_and_may_answer() -> None:
    port = free_port()
    async with running() as (services, inputs):
        wanted = (Service("s", answer, "hello"), Listen("tcp", port, "mesh", "s"))
        await services.replace(wanted, HERE)
        await eventually(lambda: inputs.observed.get(FACT, ""))

        assert inputs.observed.get(FACT, "") == f"hello [{port}] {{}}"
        socket.create_connection(("127.0.0.1", port)).close()


async def test_a_change_of_parameters_restarts_it_and_nothing_else_does() -> None:
    async with running() as (services, inputs):
        await services.replace((Service("s", answer, 1),), HERE)
        await eventually(lambda: inputs.observed.get(FACT, "").startswith("1"))
        version = inputs.version
        await services.replace((Service("s", answer, 1),), HERE)
        await asyncio.sleep(0.02)
        assert inputs.version == version
        await services.replace((Service("s", answer, 2),), HERE)
        await eventually(lambda: inputs.observed.get(FACT, "").startswith("2"))


async def test_a_service_that_nobody_wants_ends_and_its_port_is_free() -> None:
    port = free_port()
    async with running() as (services, inputs):
        wanted = (Service("s", answer), Listen("tcp", port, "mesh", "s"))
        await services.replace(wanted, HERE)
        await eventually(lambda: inputs.observed.get(FACT, ""))
        await services.replace((), HERE)

        socket.create_server(("127.0.0.1", port)).close()


async def test_a_service_that_fails_is_a_notice_with_its_reason() -> None:
    async with running() as (services, _):
        await services.replace((Service("bad", fail),), HERE)
        await eventually(services.notices)

        assert [n.text for n in services.notices()] == ["bad: ZeroDivisionError: boom"]


async def test_a_port_that_is_taken_is_named() -> None:
    async with running() as (services, _):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            wanted = (Service("s", answer), Listen("tcp", port, "mesh", "s"))
            await services.replace(wanted, HERE)
            await eventually(services.notices)

        assert f"127.0.0.1 tcp port {port}: Address already in use" in services.notices()[0].text


async def hold(context: ServiceContext, params: Any) -> None:
    """Publish what came by UDP, after the parameters; the first one is told to wait for ever."""
    with socket.socket(fileno=os.dup(context.sockets()[0])) as sock:
        await context.answer(FACT, f"{params} is here")
        if params == "second":
            raw = await asyncio.get_running_loop().sock_recv(sock, 99)
            await context.answer(FACT, f"{params} {raw.decode()}")
        await asyncio.Event().wait()


async def test_what_comes_while_a_service_gets_other_parameters_is_not_lost() -> None:
    async with running() as (services, inputs):
        place = Listen("udp", free_port(), "mesh", "s")
        await services.replace((Service("s", hold, "first"), place), HERE)
        await eventually(lambda: inputs.observed.get(FACT, "") == "first is here")
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"question", ("127.0.0.1", place.port))
        await services.replace((Service("s", hold, "second"), place), HERE)
        await eventually(lambda: inputs.observed.get(FACT, "") == "second question")


class Farewell:
    """A service that notes when it is said farewell to, and stays until it may go."""

    def __init__(self) -> None:
        self.began, self.may_go = asyncio.Event(), asyncio.Event()
        self.was_cancelled = asyncio.Event()

    async def say(self, context: ServiceContext, params: Any) -> None:
        self.began.set()
        try:
            await self.may_go.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        await context.answer(FACT, f"gone {params}")

    def service(self) -> Service:
        return Service("s", answer, 1, farewell=self.say)


async def test_a_service_that_nobody_wants_any_more_takes_leave() -> None:
    farewell = Farewell()
    farewell.may_go.set()
    async with running() as (services, inputs):
        await services.replace((farewell.service(),), HERE)
        await services.replace((), HERE)
        await eventually(lambda: inputs.observed.get(FACT, "") == "gone 1")

        assert services.notices() == ()


async def test_a_service_that_is_wanted_again_takes_leave_no_longer() -> None:
    farewell = Farewell()
    async with running() as (services, _):
        await services.replace((farewell.service(),), HERE)
        await services.replace((), HERE)
        await eventually(farewell.began.is_set)
        await services.replace((farewell.service(),), HERE)
        await eventually(farewell.was_cancelled.is_set)


async def test_no_service_takes_leave_when_it_changes_or_the_daemon_ends() -> None:
    farewell = Farewell()
    async with running() as (services, _):
        await services.replace((farewell.service(),), HERE)
        await services.replace((Service("s", answer, 2, farewell=farewell.say),), HERE)

    assert not farewell.began.is_set()
