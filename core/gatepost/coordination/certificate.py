"""The certificate of the TLS listeners: the operator's, or one that we sign and nodes pin."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gatepost.coordination.settings import Settings
from gatepost.model.keys import NodePublic
from gatepost.net.meta_certificate import meta_certificate
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import server_context

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """`pin` is what the DERP map says of it: `sha256-raw:<hex>`, or "" if it needs no pin."""

    context: ssl.SSLContext
    pin: str


def certificate_of(
    settings: Settings, directory: Path, now: datetime, relay: NodePublic | None = None
) -> Certificate:
    """Return the certificate; raise `SettingsError` or `StateError` if there can be none.

    The key of the `relay` is told by one more certificate in the chain.
    """
    meta = b"" if relay is None else meta_certificate(relay, now)
    if settings.certificate is not None:
        return Certificate(server_context(*settings.certificate, more=meta), "")
    if settings.server_url.startswith("https:"):
        log.warning(
            "server-url is https, and there is no certificate: nodes refuse the self-signed one, "
            "so set certificate and certificate-key, unless a proxy with its own is before this"
        )
    names = [settings.host]
    if settings.derp is not None:
        derp = settings.derp
        names += [derp.host, *(str(a) for a in (derp.ipv4, derp.ipv6) if a)]
    own = own_certificate(directory / "tls.pem", list(dict.fromkeys(names)), now)
    return Certificate(server_context(own.path, more=meta), own.pin)
