"""The few pages that a person sees: plain HTML, no script, everything escaped. Pure."""

from __future__ import annotations

from html import escape

from gatepost.coordination.logins import Login
from gatepost.coordination.ssh_checks import Check
from gatepost.net.http_server import Response
from gatepost.wire.hostinfo import Hostinfo

_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "pre{background:#eee;color:#111;padding:1rem;overflow:auto}"
)


def login_page(login: Login | None) -> Response:
    """Say how this login is let in; an unknown one gets 404 and the way out."""
    if login is None:
        return _unknown("login", "Look at the machine: it shows a new address within a minute.")
    match login.verdict:
        case "approved":
            return _approved("Approved", "The machine is in.")
        case "denied":
            return _denied("login")
        case "waiting":
            return _page(200, "A machine wants to join", _waiting(login))


def _waiting(login: Login) -> str:
    hostinfo = login.request.hostinfo or Hostinfo()
    command = f"gatepost admin registrations approve {login.id} --user NAME"
    return (
        f"<p>Machine <b>{escape(hostinfo.hostname or 'without a name')}</b> "
        f"({escape(hostinfo.os or 'unknown system')}) with machine key "
        f"<code>{escape(login.machine.short)}</code> asks to join this mesh.</p>"
        "<p>On the coordination server, an administrator lets it in with</p>"
        f"<pre>{escape(command)}</pre>"
        "<p>NAME is the user who will own it. If nobody expects this machine, leave it: "
        "the login expires by itself, or is denied with</p>"
        f"<pre>{escape(f'gatepost admin registrations deny {login.id}')}</pre>"
    )


def check_page(check: Check | None) -> Response:
    """Say how a sign-in over SSH goes on; an unknown one gets 404 and the way out."""
    if check is None:
        return _unknown("sign-in", "Sign in again.")
    match check.verdict:
        case "approved":
            return _approved("Confirmed", "The sign-in goes on.")
        case "denied":
            return _denied("sign-in")
        case "waiting":
            return _page(200, "A sign-in must be confirmed", _unconfirmed(check))


def _unconfirmed(check: Check) -> str:
    return (
        f"<p>Somebody at <b>{escape(check.source.label)}</b> signs in to "
        f"<b>{escape(check.destination.label)}</b> as <b>{escape(check.login)}</b>, and the "
        "policy wants to know that it is the right person.</p>"
        "<p>On the coordination server, an administrator who knows that confirms it with</p>"
        f"<pre>{escape(f'gatepost admin ssh-checks approve {check.id}')}</pre>"
        "<p>or ends it with</p>"
        f"<pre>{escape(f'gatepost admin ssh-checks deny {check.id}')}</pre>"
    )


def _unknown(what: str, way_out: str) -> Response:
    why = f"This {what} is not known here: it has expired, or the server was started anew."
    return _page(404, f"Unknown {what}", f"<p>{why} {way_out}</p>")


def _approved(title: str, text: str) -> Response:
    return _page(200, title, f"<p>{text} You can close this page.</p>")


def _denied(what: str) -> Response:
    return _page(200, "Denied", f"<p>The administrator has denied this {what}.</p>")


def _page(status: int, title: str, content: str) -> Response:
    html = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        '<meta name=viewport content="width=device-width">'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>"
    )
    return Response(
        status=status,
        body=html.encode(),
        content_type="text/html; charset=utf-8",
        headers=_HEADERS,
    )
