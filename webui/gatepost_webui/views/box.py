"""The first page: how this box and its peers are, and up or down."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.localapi.words import is_active
from gatepost.model.status import PeerDocument, UpRequest
from gatepost_webui.context import web

page = Blueprint("box", __name__)

_MESH = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
_SHOWN = 200  # peers on one page; the search finds the others


@page.get("/")
def status() -> str:
    answer = web().node.status()
    wanted = request.args.get("q", "").strip().lower()
    found = [peer for peer in answer.peers if not wanted or _has(peer, wanted)]
    found.sort(key=lambda peer: (peer.online is False, peer.name))
    return render_template(
        "status.html",
        status=answer,
        peers=found[:_SHOWN],
        found=len(found),
        active=sum(is_active(peer, web().now()) for peer in answer.peers),
        online=sum(peer.online is not False for peer in answer.peers),
        q=wanted,
    )


@page.post("/up")
def up() -> Response:
    web().node.up(UpRequest())
    return redirect(url_for("box.status"))


@page.post("/down")
def down() -> Response | str:
    if _is_through_mesh() and request.form.get("sure") != "yes":
        return render_template("sure.html")
    web().node.down()
    return redirect(url_for("box.status"))


def _is_through_mesh() -> bool:
    """Say whether the browser would lose this page with the mesh."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return any(address in network for network in _MESH)


def _has(peer: PeerDocument, wanted: str) -> bool:
    words = (peer.name, peer.user, peer.operating_system, *peer.addresses, *peer.routes, *peer.tags)
    return any(wanted in word.lower() for word in words)
