"""TLS for servers with thousands of quiet connections.

asyncio reads TLS through a buffer of 256 KiB that each connection keeps for
good: 2,000 long polls would hold 500 MiB. One TLS record has at most 16 KiB,
so that is all that is needed.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import ssl
from collections.abc import Callable

HANDSHAKE_TIMEOUT = 10  # seconds
SHUTDOWN_TIMEOUT = 5  # seconds to wait for the other side's good-bye


class SmallTls(asyncio.sslproto.SSLProtocol):
    """asyncio's own TLS with a buffer of one record."""

    max_size = 16 << 10  # octets; what asyncio reads at once


def over_tls(
    make: Callable[[], asyncio.Protocol], context: ssl.SSLContext
) -> Callable[[], asyncio.BaseProtocol]:
    """Return a protocol factory for `create_server` (without `ssl`) that puts TLS below `make`."""
    loop = asyncio.get_running_loop()

    def inside() -> asyncio.BaseProtocol:
        return SmallTls(
            loop,
            make(),
            context,
            None,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody waits: asyncio checks for None
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )

    return inside
