"""Another password; whoever is signed in elsewhere must know it to come back."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.errors import DeniedError, SettingsError
from gatepost_webui import guard
from gatepost_webui.context import web
from gatepost_webui.passwords import LONGEST, SHORTEST, check
from gatepost_webui.words import in_wait, sentence

page = Blueprint("password", __name__)

Answer = Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]


@page.get("/password")
def form() -> str:
    return _page("")


@page.post("/password")
def change() -> Answer:
    """Count the current password as a guess: a browser left open is no way to find it out."""
    address = request.remote_addr or ""
    if wait := web().limiter.wait(address, web().ticks()):
        error, headers = in_wait(wait)
        return _page(error), HTTPStatus.TOO_MANY_REQUESTS, headers
    current, password, again = (
        request.form.get(name, "") for name in ("current", "password", "again")
    )
    try:
        check(password)
        if password != again:
            raise SettingsError("the two passwords differ")  # noqa: TRY301  # shown like the rest
        web().limiter.on_wrong(address, web().ticks())
        web().passwords.change(current, password)
    except (SettingsError, DeniedError) as error:
        return _page(sentence(error)), HTTPStatus.BAD_REQUEST
    web().limiter.on_right(address)
    web().sessions.close_all()
    guard.sign_in()
    flash("The password is changed.")
    return redirect(url_for("password.form"))


def _page(error: str) -> str:
    return render_template("password.html", error=error, shortest=SHORTEST, longest=LONGEST)
