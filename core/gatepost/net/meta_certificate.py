"""The extra certificate with which a DERP server tells its key inside the TLS handshake.

A client that finds it sends its request and expects DERP at once, without an
HTTP answer: one round trip less. It proves nothing and nothing trusts it:
common name `derpkey<64 hex>`, serial number = version of the protocol, last in
the chain. Source: protocol document 3.1.
"""

from __future__ import annotations

import warnings
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gatepost.model.keys import NodePublic
from gatepost.net.own_certificate import FIRST_DAY, LIFETIME
from gatepost.net.tls import EARLIEST_NOW, META_PREFIX
from gatepost.wire.derp import VERSION


def meta_certificate(key: NodePublic, now: datetime) -> bytes:
    """Return the certificate in PEM; it is made anew at each start, with a key of its own."""
    text = META_PREFIX + key.raw.hex()
    with warnings.catch_warnings():
        # 71 characters where X.520 allows 64: the protocol asks for it, and clients read it
        warnings.simplefilter("ignore", UserWarning)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])
    private = ed25519.Ed25519PrivateKey.generate()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(VERSION)
        .not_valid_before(FIRST_DAY)
        .not_valid_after(max(now, EARLIEST_NOW) + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, None)
    )
    return made.public_bytes(Encoding.PEM)
