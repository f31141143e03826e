"""WireGuard providers: import a file, choose one as this box's exit, forget one."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.errors import RefusedError, SettingsError
from gatepost.model.status import PluginRequest, ProviderRequest
from gatepost_webui.context import web

page = Blueprint("providers", __name__)
PLUGIN = "exit-provider"


@page.get("/providers")
def show() -> str:
    return _page()


@page.post("/providers")
def take() -> Response | tuple[str, int]:
    """Import what was pasted. A file that is wrong is not shown again: it holds a secret key."""
    name = request.form.get("name", "").strip()
    try:
        wanted = ProviderRequest(name=name, text=request.form.get("file", ""))
        web().node.import_provider(wanted)
    except (SettingsError, RefusedError) as error:
        return _page(str(error), name), HTTPStatus.BAD_REQUEST
    flash(f"{name} is imported.")
    return redirect(url_for("providers.show"))


@page.post("/providers/change")
def change() -> Response | tuple[str, int]:
    """Use or forget the one that is named, or use none."""
    name, what = request.form.get("name", ""), request.form.get("what", "")
    try:
        if what == "remove":
            web().node.remove_provider(name)
        else:
            is_on = what == "use"
            settings: dict[str, str | int | float | bool | list[str] | None]
            settings = {"use": name if is_on else None}
            web().node.change_plugin(PLUGIN, PluginRequest(enabled=is_on, settings=settings))
    except (SettingsError, RefusedError) as error:
        return _page(str(error)), HTTPStatus.BAD_REQUEST
    return redirect(url_for("providers.show"))


def _page(error: str = "", name: str = "") -> str:
    providers = web().node.providers()
    return render_template("providers.html", providers=providers, error=error, name=name)
