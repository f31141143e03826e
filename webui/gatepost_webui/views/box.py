"""The first page: how this box and its peers are, and up or down."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.localapi.words import is_active
from gatepost.model.status import PeerDocument, UpRequest
from gatepost_webui.context import web

page = Blueprint("box", __name__)

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
def down() -> Response:
    web().node.down()
    return redirect(url_for("box.status"))


def _has(peer: PeerDocument, wanted: str) -> bool:
    words = (peer.name, peer.user, peer.operating_system, *peer.addresses, *peer.routes, *peer.tags)
    return any(wanted in word.lower() for word in words)
