"""Wakes a machine at this site, or asks the box of another site to."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gatepost.daemon.ping import find_target
from gatepost.errors import Malformed, RefusedError, SettingsError, UnreachableError
from gatepost.model.netmap import NetMap, Node
from gatepost.model.process import Handler
from gatepost.model.resource import Resource
from gatepost.model.wake import WakeDocument
from gatepost.net.fetch import Question, fetch
from gatepost.wire.wake_on_lan import CAPABILITY, PATH, WakeRequest, Woken

SECONDS = 8.0  # for the answer of another box
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404


async def wake(
    target: str, site: str, netmap: NetMap | None, resources: Iterable[Resource]
) -> WakeDocument:
    """Wake `target` at `site`, "" for this one; raise `RefusedError` if that box says no."""
    body = msgspec.json.encode(WakeRequest(target))
    if not site:
        return _document("", await _here(resources).serve(body))
    if netmap is None:
        raise UnreachableError("there is no netmap yet")
    peer, _ = find_target(netmap, site)
    return _document(peer.label, await _ask(netmap, peer, body))


def _here(resources: Iterable[Resource]) -> Handler:
    for resource in resources:
        if isinstance(resource, Handler) and (resource.surface, resource.path) == ("peer", PATH):
            return resource
    raise SettingsError(
        "this box wakes nobody", hint="gatepost plugin enable wake-on-lan, or --site BOX"
    )


async def _ask(netmap: NetMap, peer: Node, body: bytes) -> bytes:
    place = netmap.peer_api(peer)
    if place is None:
        raise UnreachableError(f"{peer.label} offers its peers nothing by HTTP (peer API)")
    headers = {"Content-Type": "application/json"}
    question = Question(
        host=str(place.address), port=place.port, target=PATH, headers=headers, body=body
    )
    reply = await fetch(question, seconds=SECONDS)
    if reply.status == _OK:
        return reply.body
    said = reply.body.decode("utf-8", "replace").strip()[:300]
    if reply.status == _FORBIDDEN:
        raise RefusedError(f"{peer.label}: {said}", hint=f"grant {CAPABILITY} in the policy")
    if reply.status == _NOT_FOUND:
        raise RefusedError(
            f"{peer.label} wakes nobody", hint="there: gatepost plugin enable wake-on-lan"
        )
    raise RefusedError(f"{peer.label}: {said}")


def _document(site: str, answer: bytes) -> WakeDocument:
    try:
        woken = msgspec.json.decode(answer, type=Woken)
    except msgspec.DecodeError as error:
        raise Malformed(f"{site or 'this box'} answered with something else: {error}") from error
    return WakeDocument(site=site, mac=woken.mac, links=woken.links)
