"""What plugins answer at the peer API, and to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.net.test_peer_api import ME, PEER, serving, status

from gatepost.errors import SettingsError
from gatepost.model.netmap import Grant
from gatepost.model.process import Handler
from gatepost.testing.makers import make_range

CAPABILITY = "example.com/cap/echo"


async def echo(body: bytes) -> bytes:
    if body == b"wrong":
        raise SettingsError("nobody is called so")
    if body == b"broken":
        raise RuntimeError("a secret of the plugin")
    return b"heard " + body


HANDLER = Handler("peer", "/v1/echo", echo, CAPABILITY)
GRANT = Grant(
    sources=(make_range(f"{PEER}/32"),),
    destinations=(make_range(f"{ME}/32"),),
    capabilities={CAPABILITY: ()},
)


async def ask(text: str, body: bytes = b"", *, granted: bool = True) -> bytes:
    async with serving() as bed:
        assert bed.api.netmap
        if granted:
            bed.api.netmap = replace(bed.api.netmap, grants=(GRANT,))
        bed.api.handlers = {HANDLER.path: HANDLER}
        return await bed.ask(text, body)


async def test_who_was_granted_the_capability_is_answered() -> None:
    answer = await ask("POST /v1/echo", b"hello")

    assert status(answer) == 200
    assert answer.endswith(b"heard hello")


async def test_who_was_not_is_told_what_is_missing() -> None:
    answer = await ask("POST /v1/echo", b"hello", granted=False)

    assert status(answer) == 403
    assert CAPABILITY.encode() in answer
    assert b"heard" not in answer


@pytest.mark.parametrize(
    ("text", "body", "code"),
    [
        ("GET /v1/echo", b"", 405),
        ("POST /v1/other", b"x", 404),
        ("POST /v1/echo", b"wrong", 400),
        ("POST /v1/echo", b"broken", 500),
    ],
)
async def test_what_goes_wrong_has_its_own_number(text: str, body: bytes, code: int) -> None:
    answer = await ask(text, body)

    assert status(answer) == code
    assert b"a secret" not in answer
