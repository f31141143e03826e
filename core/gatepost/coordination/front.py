"""What the server answers outside Noise. The same on plain HTTP and on TLS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.metadata import version

import msgspec

from gatepost.coordination.logins import Logins
from gatepost.coordination.pages import check_page, login_page
from gatepost.coordination.relay_guard import RelayGuard
from gatepost.coordination.ssh_checks import SshChecks
from gatepost.errors import Malformed
from gatepost.model.keys import MachinePublic, NodePublic
from gatepost.net.control_server import NoiseServer
from gatepost.net.derp_server import PATHS, DerpServer
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.register import ServerKeys

_Answer = Response | Upgrade


class _VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a relay asks before it lets a node in. Source: protocol document 3.3."""

    node_public: NodePublic
    source: str = ""


class Front:
    """The handler of the public listeners."""

    def __init__(
        self,
        guard: RelayGuard,
        logins: Logins,
        checks: SshChecks,
        noise: NoiseServer,
        derp: DerpServer | None,
        public_key: MachinePublic,
    ) -> None:
        self._guard = guard
        self._logins = logins
        self._checks = checks
        self._noise = noise
        self._derp = derp
        self._keys = write_json(ServerKeys(public_key=public_key))
        self._pages: dict[str, Callable[[Request], Awaitable[_Answer]]] = {
            "/": self._about,
            "/key": self._key,
            "/ts2021": self._control,
            "/health": self._health,
            "/version": self._version,
            "/verify": self._verify,
            "/generate_204": self._no_content,
            "/robots.txt": self._robots,
        }

    async def handle(self, request: Request) -> _Answer:
        if self._derp is not None and request.path in PATHS:
            return self._derp.handle(request)
        if request.path.startswith("/register/"):
            return login_page(self._logins.find(request.path.removeprefix("/register/")))
        if request.path.startswith("/ssh/"):
            return check_page(self._checks.find(request.path.removeprefix("/ssh/")))
        page = self._pages.get(request.path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, f"there is no {request.path[:100]} here")
        return await page(request)

    async def _about(self, _request: Request) -> Response:
        text = "This is a Gatepost coordination server. Join with: gatepost up --login-server URL"
        return _text(HTTPStatus.OK, text)

    async def _key(self, request: Request) -> _Answer:
        if not request.query.get("v", "").isdigit():
            return _text(HTTPStatus.BAD_REQUEST, "ask for /key?v=<capability version>")
        return Response(body=self._keys)

    async def _control(self, request: Request) -> _Answer:
        return self._noise.upgrade(request)

    async def _health(self, _request: Request) -> Response:
        return Response(body=b'{"status":"pass"}')

    async def _version(self, _request: Request) -> Response:
        return Response(body=msgspec.json.encode({"version": version("gatepost")}))

    async def _verify(self, request: Request) -> Response:
        """Tell another relay of this mesh whether a node may use it."""
        try:
            asked = read_json(request.body, _VerifyRequest)
        except Malformed as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        allow = self._guard.admits(asked.node_public)
        return Response(body=msgspec.json.encode({"Allow": allow}))

    async def _no_content(self, _request: Request) -> Response:
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _robots(self, _request: Request) -> Response:
        return _text(HTTPStatus.OK, "User-agent: *\nDisallow: /")


def _text(status: HTTPStatus, text: str) -> Response:
    return Response(status=status, body=text.encode() + b"\n", content_type="text/plain")
