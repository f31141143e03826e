"""Signing in and out, and the first password."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gatepost.errors import DeniedError, SettingsError
from gatepost_webui import guard
from gatepost_webui.context import web
from gatepost_webui.passwords import LONGEST, SHORTEST, check
from gatepost_webui.words import in_wait, sentence

page = Blueprint("sign", __name__)

Answer = Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]


@page.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Answer:
    if not web().passwords.is_set():
        return redirect(url_for("sign.setup"))
    if request.method == "GET":
        return redirect(url_for("box.status")) if guard.is_signed_in() else _sign_in_page("")
    address = request.remote_addr or ""
    if wait := web().limiter.wait(address, web().ticks()):
        return _wait_page("sign_in.html", wait)
    web().limiter.on_wrong(address, web().ticks())
    if not web().passwords.verify(request.form.get("password", "")):
        return _sign_in_page("That is not the password."), HTTPStatus.FORBIDDEN
    web().limiter.on_right(address)
    guard.sign_in()
    return redirect(url_for("box.status"))


@page.post("/sign-out")
def sign_out() -> Answer:
    guard.sign_out()
    return redirect(url_for("sign.sign_in"))


@page.route("/setup", methods=["GET", "POST"])
def setup() -> Answer:
    if web().passwords.is_set():
        return redirect(url_for("sign.sign_in"))
    if request.method == "GET":
        return _setup_page("")
    address = request.remote_addr or ""
    if wait := web().limiter.wait(address, web().ticks()):
        return _wait_page("setup.html", wait)
    password, again = (request.form.get(name, "") for name in ("password", "again"))
    try:
        check(password)
        if password != again:
            raise SettingsError("the two passwords differ")  # noqa: TRY301  # shown like the rest
        web().limiter.on_wrong(address, web().ticks())
        web().passwords.set_first(request.form.get("code", ""), password)
    except (SettingsError, DeniedError) as error:
        return _setup_page(sentence(error)), HTTPStatus.BAD_REQUEST
    web().limiter.on_right(address)
    guard.sign_in()
    return redirect(url_for("box.status"))


def _sign_in_page(error: str) -> str:
    return render_template("sign_in.html", error=error)


def _setup_page(error: str) -> str:
    return render_template("setup.html", error=error, shortest=SHORTEST, longest=LONGEST)


def _wait_page(template: str, wait: float) -> Answer:
    error, headers = in_wait(wait)
    text = render_template(template, error=error, shortest=SHORTEST, longest=LONGEST)
    return text, HTTPStatus.TOO_MANY_REQUESTS, headers
