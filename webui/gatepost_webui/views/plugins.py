"""Plugins: the list, and a form for each made from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.status import PluginDocument
from gatepost_webui.context import web
from gatepost_webui.forms import make_inputs, read_form

page = Blueprint("plugins", __name__)


@page.get("/plugins")
def show() -> str:
    return render_template("plugins.html", plugins=web().node.plugins())


@page.get("/plugins/<name>")
def form(name: str) -> str:
    plugin = _find(name)
    inputs = make_inputs(plugin)
    return render_template("plugin.html", plugin=plugin, on=plugin.enabled, inputs=inputs)


@page.post("/plugins/<name>")
def change(name: str) -> Response | tuple[str, int]:
    plugin = _find(name)
    wanted, errors = read_form(plugin, request.form)
    if errors:
        return _again(plugin, errors, ""), HTTPStatus.BAD_REQUEST
    try:
        web().node.change_plugin(name, wanted)
    except (SettingsError, RefusedError) as error:
        return _again(plugin, {}, str(error)), HTTPStatus.BAD_REQUEST
    flash("Saved.")
    return redirect(url_for("plugins.form", name=name))


def _again(plugin: PluginDocument, errors: Mapping[str, str], error: str) -> str:
    """Show what was sent, so that nothing has to be typed twice."""
    inputs = make_inputs(plugin, request.form, errors)
    on = "enabled" in request.form
    return render_template("plugin.html", plugin=plugin, on=on, inputs=inputs, error=error)


def _find(name: str) -> PluginDocument:
    for plugin in web().node.plugins():
        if plugin.name == name:
            return plugin
    raise NotFoundError(f"there is no plugin {name!r}")
