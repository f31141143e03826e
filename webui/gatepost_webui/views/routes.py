"""Networks: what this box advertises, what is approved, and what others offer."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_interface, ip_network

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.errors import RefusedError, SettingsError
from gatepost.model.status import UpRequest
from gatepost_webui.context import web
from gatepost_webui.forms import words_of

page = Blueprint("routes", __name__)


@page.get("/routes")
def show() -> str:
    return _page()


@page.post("/routes")
def change() -> Response | tuple[str, int]:
    text = request.form.get("networks", "")
    try:
        wanted = UpRequest(
            advertise_routes=tuple(_networks(words_of(text))),
            snat_subnet_routes="masquerade" in request.form,
            accept_routes="accept" in request.form,
        )
        web().node.change_settings(wanted)
    except (SettingsError, RefusedError) as error:
        return _page(str(error), text), HTTPStatus.BAD_REQUEST
    return redirect(url_for("routes.show"))


@page.post("/routes/share")
def share() -> Response | tuple[str, int]:
    """Advertise one proposed network, next to what is advertised."""
    network = request.form.get("network", "")
    shared = web().node.settings().advertise_routes or ()
    try:
        wanted = tuple(dict.fromkeys((*shared, *_networks([network]))))
        web().node.change_settings(UpRequest(advertise_routes=wanted))
    except (SettingsError, RefusedError) as error:
        return _page(str(error)), HTTPStatus.BAD_REQUEST
    return redirect(url_for("routes.show"))


def _page(error: str = "", text: str | None = None) -> str:
    status, settings = web().node.status(), web().node.settings()
    advertised = settings.advertise_routes or ()
    offers = [(route, peer) for peer in status.peers for route in peer.routes]
    return render_template(
        "routes.html",
        node=status.node,
        settings=settings,
        advertised=[(route, route in status.routes.approved) for route in advertised],
        running=status.state == "Running",
        around=web().node.surroundings(),
        offers=sorted(offers, key=lambda offer: (offer[1].name, offer[0])),
        accepted=set(status.routes.accepted),
        text="\n".join(advertised) if text is None else text,
        error=error,
    )


def _networks(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        try:
            network = ip_network(word, strict=False)
        except ValueError as error:
            raise SettingsError(f"{word!r} is no network; write it like 192.168.1.0/24") from error
        if network.network_address != ip_interface(word).ip:
            raise SettingsError(f"{word!r} has bits behind its length; did you mean {network}?")
        yield str(network)
