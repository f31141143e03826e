"""What the client does with servers that stop, stay silent, or are something else."""

from __future__ import annotations

import asyncio

import pytest
from tests.net.control_bed import MACHINE, Holder, Silence, bed, eventually, ok

from gatepost.errors import RefusedError, UnreachableError, WireError
from gatepost.net.control_client import ControlClient


async def test_a_server_that_stops_ends_what_waits_and_is_found_again_when_it_is_back() -> None:
    holder = Holder()
    async with bed(holder) as door, door.client() as client:
        waiting = asyncio.gather(client.request("GET", "/x"), return_exceptions=True)
        await eventually(lambda: holder.running == 1)
        await door.noise.close()
        [error] = await waiting
        again = asyncio.gather(client.request("GET", "/x"), return_exceptions=True)
        await eventually(lambda: holder.running == 2)
        again.cancel()

    assert isinstance(error, UnreachableError)


async def test_closing_the_client_ends_what_waits() -> None:
    holder = Holder()
    async with bed(holder) as door, door.client() as client:
        waiting = asyncio.gather(client.request("GET", "/x"), return_exceptions=True)
        await eventually(lambda: holder.running == 1)
        await client.close()
        [error] = await waiting

    assert isinstance(error, UnreachableError)


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever() -> None:
    async with bed(Holder()) as door, door.client() as client:
        with pytest.raises(UnreachableError, match=r"within 0\.1 s"):
            await client.request("GET", "/x", wait=0.1)


async def test_a_request_without_answer_costs_no_connection_that_is_alive() -> None:
    holder = Holder()
    async with bed(holder) as door, door.client() as client:
        waiting = asyncio.gather(client.request("GET", "/long"), return_exceptions=True)
        with pytest.raises(UnreachableError):
            await client.request("GET", "/x", wait=0.05)
        await asyncio.sleep(0.4)

        assert door.noise.connections == 1
        assert not waiting.done()
        waiting.cancel()


async def test_a_connection_without_a_sign_of_life_is_made_anew() -> None:
    async with bed(ok) as door:
        silence = Silence(door.address.port)
        async with silence.listening() as port:
            client = ControlClient(f"http://127.0.0.1:{port}", MACHINE, sign_of_life=0.1)
            await client.request("GET", "/x")
            silence.swallows = True
            with pytest.raises(UnreachableError):
                await client.request("GET", "/x", wait=0.05)
            await eventually(lambda: not door.noise.connections)
            silence.swallows = False
            answer = await client.request("GET", "/x")
            await client.close()

    assert answer == (200, b"ok")


@pytest.mark.parametrize("wrong", [b"", b"HTTP/1.1 200 OK\r\n\r\nnonsense", b"\x00" * 300])
async def test_something_else_on_the_port_is_an_error_and_not_a_crash(wrong: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wrong)
        writer.close()

    listening = await asyncio.start_server(other, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with bed(ok) as door, door.client() as client:
        elsewhere = type(client)(f"http://127.0.0.1:{port}", MACHINE)
        with pytest.raises((WireError, UnreachableError, RefusedError)):
            await elsewhere.request("GET", "/x")
        await elsewhere.close()
    listening.close()
