"""The application: where its parts meet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

from flask import Flask, render_template, request
from werkzeug.exceptions import HTTPException

from gatepost.errors import (
    DeniedError,
    GatepostError,
    NotFoundError,
    RefusedError,
    SettingsError,
    UnreachableError,
)
from gatepost.localapi.client import NodeClient
from gatepost_webui import context, guard, sessions
from gatepost_webui.config import WebConfig, read_config
from gatepost_webui.filters import add_filters
from gatepost_webui.limiter import Limiter
from gatepost_webui.passwords import Passwords
from gatepost_webui.views import box, password, peer, plugins, providers, routes, sign

log = logging.getLogger(__name__)

_FORM_LIMIT = 64 << 10  # octets
_STATUS: tuple[tuple[type[GatepostError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (SettingsError, HTTPStatus.BAD_REQUEST),
    (DeniedError, HTTPStatus.FORBIDDEN),
    (RefusedError, HTTPStatus.CONFLICT),
    (UnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def create_app(
    config: WebConfig | None = None,
    *,
    now: Callable[[], float] = time.time,  # noqa: TID251  # this program's look at the clock
    ticks: Callable[[], float] = time.monotonic,
) -> Flask:
    """Return the application; raise StateError when its directory cannot be used."""
    config = config or read_config(os.environ)
    web = context.Web(
        node=NodeClient(config.socket),
        passwords=Passwords(config.state),
        sessions=sessions.Sessions(config.state),
        limiter=Limiter(),
        now=now,
        ticks=ticks,
    )
    web.passwords.prepare()
    app = Flask(__name__)
    app.extensions[context.KEY] = web
    app.config.from_mapping(_flask_config(config))
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    add_filters(app, now)
    guard.guard(app)
    pages = (box, peer, routes, plugins, providers, password, sign)
    for page in (module.page for module in pages):
        app.register_blueprint(page)
    app.register_error_handler(GatepostError, _on_error)
    app.register_error_handler(HTTPException, _on_http_error)
    return app


def _flask_config(config: WebConfig) -> dict[str, object]:
    return {
        "SECRET_KEY": sessions.read_secret(config.state),
        "SESSION_COOKIE_NAME": "gatepost_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_SECURE": config.secure,
        "PERMANENT_SESSION_LIFETIME": timedelta(seconds=sessions.LIFETIME),
        "SESSION_REFRESH_EACH_REQUEST": False,
        "MAX_CONTENT_LENGTH": _FORM_LIMIT,
        "MAX_FORM_MEMORY_SIZE": _FORM_LIMIT,
        "MAX_FORM_PARTS": 200,
        "SEND_FILE_MAX_AGE_DEFAULT": timedelta(hours=1),
    }


def _on_error(error: GatepostError) -> tuple[str, int]:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), None)
    status = status or HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s", error)
    return _page(status, str(error), error.hint)


def _on_http_error(error: HTTPException) -> tuple[str, int]:
    status = HTTPStatus(error.code or 500)
    text = f"there is no page {request.path}" if status == HTTPStatus.NOT_FOUND else ""
    return _page(status, text or error.description or "", "")


def _page(status: HTTPStatus, text: str, hint: str) -> tuple[str, int]:
    title = {
        HTTPStatus.SERVICE_UNAVAILABLE: "The node does not answer",
        HTTPStatus.NOT_FOUND: "There is no such thing",
    }.get(status, status.phrase)
    is_missing = status == HTTPStatus.NOT_FOUND
    return render_template(
        "error.html", title=title, text=text, hint=hint, is_missing=is_missing
    ), status
