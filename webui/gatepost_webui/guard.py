"""Every request passes here: signed in, no forged form; every answer leaves with its headers.

What is not named open is closed. The CSRF token is in the signed session
cookie and in a hidden field of every form; both must be there and be the same.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, abort, redirect, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from gatepost_webui.context import web

_OPEN = {"static", "sign.sign_in", "sign.setup"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def guard(app: Flask) -> None:
    """Put the checks before, and the headers behind, every view of an application."""
    app.before_request(_require_token)
    app.before_request(_require_sign_in)
    app.after_request(_add_headers)
    app.context_processor(lambda: {"csrf_token": csrf_token, "is_signed_in": is_signed_in})


def is_signed_in() -> bool:
    token = session.get("token")
    return isinstance(token, str) and web().sessions.is_open(token, web().now())


def csrf_token() -> str:
    """Return this session's token for forms; made on first use."""
    token = session.get("csrf")
    if not isinstance(token, str):
        token = secrets.token_urlsafe(24)
        session["csrf"] = token
    return token


def sign_in() -> None:
    """Begin a session with nothing of the one before."""
    session.clear()
    session["token"] = web().sessions.open(web().now())
    session.permanent = True


def sign_out() -> None:
    token = session.get("token")
    if isinstance(token, str):
        web().sessions.close(token)
    session.clear()


def _require_token() -> None:
    if request.method in _SAFE:
        return
    wanted, given = session.get("csrf"), request.form.get("csrf_token", "")
    if not isinstance(wanted, str) or not secrets.compare_digest(wanted.encode(), given.encode()):
        abort(400, "The form is too old or comes from another page. Load the page again.")


def _require_sign_in() -> BaseResponse | None:
    if request.endpoint in _OPEN or is_signed_in():
        return None
    if request.method not in _SAFE:
        abort(401, "You are not signed in any more.")
    target = "sign.sign_in" if web().passwords.is_set() else "sign.setup"
    return redirect(url_for(target))


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
