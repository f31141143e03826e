"""The names' part of the administration API."""

from __future__ import annotations

from gatepost.coordination.ledger import Ledger
from gatepost.coordination.name_settings import change_names
from gatepost.localapi.router import Answer, Call, Route
from gatepost.model.admin_names import NamesRequest


class NamesApi:
    """The functions behind the routes. `domain` is the mesh's own suffix."""

    def __init__(self, ledger: Ledger, domain: str) -> None:
        self._ledger = ledger
        self._domain = domain

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/dns", self._get, guarded=True),
            Route("PATCH", "/v1/dns", self._change, guarded=True),
        )

    async def _get(self, _call: Call) -> Answer:
        return self._ledger.world.records.names

    async def _change(self, call: Call) -> Answer:
        wish = call.body(NamesRequest)
        return await self._ledger.change(lambda r: change_names(r, wish, self._domain))
