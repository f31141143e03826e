"""One peer: how it is reached, what was tried, and what would make it better."""

from __future__ import annotations

from flask import Blueprint, render_template

from gatepost_webui.context import web

page = Blueprint("peer", __name__)

PATIENCE = 2.0  # seconds that a browser waits while the box tries


@page.get("/peers/<name>")
def show(name: str) -> str:
    answer = web().node.why(name, PATIENCE)
    return render_template("peer.html", why=answer)
