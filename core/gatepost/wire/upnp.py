"""UPnP: find an internet gateway device in the LAN, and ask it for a port.

Three formats: SSDP (HTTP's text in UDP) finds the device, an XML description
lists its services, SOAP (XML in an HTTP POST) calls them.

    M-SEARCH * HTTP/1.1                             HTTP/1.1 200 OK
    HOST: 239.255.255.250:1900                      ST: urn:…:InternetGatewayDevice:1
    ST: urn:…:InternetGatewayDevice:1        ->     LOCATION: http://192.168.1.1:5000/root.xml
    MAN: "ssdp:discover"                            SERVER: …
    MX: 2                                           USN: uuid:…

    POST /control HTTP/1.1
    SOAPACTION: "urn:…:WANIPConnection:1#AddPortMapping"

    Envelope > Body > AddPortMapping   > NewExternalPort, NewProtocol, …
    Envelope > Body > …Response        > the results
    Envelope > Body > Fault > detail   > UPnPError > errorCode, errorDescription

Whom to send it to and what to do with the answer: `sessions.portmap_upnp`.
Source: UPnP Device Architecture 1.1 sections 1 to 3 and annex A (IPv6);
WANIPConnection:2; WANIPv6FirewallControl:1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin, urlsplit
from xml.sax.saxutils import escape

from gatepost.errors import Malformed
from gatepost.wire.xml_tree import read_xml

SEARCH_PORT = 1900  # UDP
GROUP = IPv4Address("239.255.255.250")
GROUP_V6 = IPv6Address("ff02::c")
GATEWAY_1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
GATEWAY_2 = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
CONNECTIONS = (  # services that map ports, the best first
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
FIREWALLS = (  # services that let IPv6 packets through
    "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
)
LONGEST_ANSWER = 4096  # bytes of an answer to a search
LONGEST_VALUE = 512  # characters of an argument or result

_GATEWAY_MARK = ":InternetGatewayDevice:"
_ENVELOPE = (
    '<?xml version="1.0"?>\r\n'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
    '<u:{action} xmlns:u="{service}">{arguments}</u:{action}>'
    "</s:Body></s:Envelope>\r\n"
)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where an HTTP document is: the TCP port and the path with its query, of one host."""

    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A gateway that answered a search. `location` is the URL of its description."""

    location: str
    server: str = ""
    name: str = ""  # the unique service name (USN)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that maps or opens ports, and the URL at which it is called."""

    kind: str
    control: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The gateway refused a call: `code` as in the service's document, 0 when it gave none."""

    code: int
    text: str


def write_search(target: str, version: int = 4) -> bytes:
    """Return a search for devices of a kind; it goes to the group or straight to a gateway."""
    group = f"{GROUP}" if version == 4 else f"[{GROUP_V6}]"  # noqa: PLR2004  # the version of IP
    return (
        "M-SEARCH * HTTP/1.1\r\n"
        f"HOST: {group}:{SEARCH_PORT}\r\n"
        f"ST: {target}\r\n"
        'MAN: "ssdp:discover"\r\n'
        "MX: 2\r\n\r\n"
    ).encode()


def read_found(packet: bytes) -> Found:
    """Return what a gateway answered to a search; raise `Malformed` for other devices too."""
    if len(packet) > LONGEST_ANSWER:
        raise Malformed(f"an SSDP answer of {len(packet)} bytes is over {LONGEST_ANSWER}")
    first, *lines = packet.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not first.startswith("HTTP/1.") or len(words) < 2 or words[1] != "200":  # noqa: PLR2004  # version and status
        raise Malformed(f"not an SSDP answer: {first[:40]!r}")
    fields = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    if not any(_GATEWAY_MARK in fields.get(name, "") for name in ("st", "usn")):
        raise Malformed(f"not a gateway but {fields.get('st', '')[:80]!r}")
    location = fields.get("location", "")
    read_address(location)
    return Found(location=location, server=fields.get("server", ""), name=fields.get("usn", ""))


def read_address(url: str) -> Address:
    """Return port and path of an http URL whose host is an address; raise `Malformed`.

    Only the gateway itself is ever asked, so the host is checked and dropped.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Malformed(f"{url[:80]!r} is not a URL")
    try:
        parts = urlsplit(url)
        port = 80 if parts.port is None else parts.port
        ip_address(parts.hostname or "")
    except ValueError as error:
        raise Malformed(f"the URL {url[:80]!r} does not name an address: {error}") from error
    if parts.scheme != "http" or not port:
        raise Malformed(f"the URL {url[:80]!r} is not plain HTTP to a port")
    path = parts.path or "/"
    return Address(port, f"{path}?{parts.query}" if parts.query else path)


def read_description(
    document: bytes, location: str, kinds: tuple[str, ...] = CONNECTIONS
) -> tuple[Service, ...]:
    """Return the services of these kinds, in the order of `kinds`; raise `Malformed`.

    `location` is where the document came from: control URLs may be relative to
    it, or to the `URLBase` that it gives.
    """
    root = read_xml(document)
    base = root.child("URLBase") or location
    found: list[Service] = []
    for service in root.all("service"):
        kind, control = service.child("serviceType"), service.child("controlURL")
        if kind in kinds and control:
            found.append(Service(kind, _join(base, control)))
    return tuple(sorted(found, key=lambda s: kinds.index(s.kind)))


def write_call(service: str, action: str, arguments: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the SOAPACTION header and the body of a call; arguments are sent in their order."""
    inside = "".join(f"<{n}>{escape(v)}</{n}>" for n, v in arguments.items())
    body = _ENVELOPE.format(action=action, service=service, arguments=inside)
    return f'"{service}#{action}"', body.encode()


def read_reply(document: bytes, action: str) -> Mapping[str, str] | Fault:
    """Return the results of a call by their names, or the fault; raise `Malformed`."""
    root = read_xml(document)
    body = root.first("Body")
    if root.name != "Envelope" or body is None:
        raise Malformed(f"not SOAP but <{root.name[:40]}>")
    fault = body.first("Fault")
    if fault is not None:
        return _fault(
            (fault.first("errorCode") or fault).text,
            (fault.first("errorDescription") or fault).text or fault.child("faultstring"),
        )
    reply = body.first(f"{action}Response")
    if reply is None:
        raise Malformed(f"a SOAP body without {action}Response")
    long = next((c.name for c in reply.children if len(c.text) > LONGEST_VALUE), "")
    if long:
        raise Malformed(f"the result {long[:40]} is longer than {LONGEST_VALUE} characters")
    return {c.name: c.text for c in reply.children}


def read_call(document: bytes) -> tuple[str, Mapping[str, str]]:
    """Return the action of a call and its arguments, as a gateway reads it; raise `Malformed`."""
    body = read_xml(document).first("Body")
    if body is None or not body.children:
        raise Malformed("a SOAP call without a body")
    action = body.children[0]
    return action.name, {c.name: c.text for c in action.children}


def _join(base: str, control: str) -> str:
    """Return an absolute URL; raise `Malformed` for what cannot be one."""
    try:
        url = urljoin(base, control)
    except ValueError as error:
        raise Malformed(f"the control URL {control[:80]!r} is none: {error}") from error
    read_address(url)
    return url


def _fault(code: str, text: str) -> Fault:
    is_number = code.isascii() and code.isdecimal() and len(code) <= 5  # noqa: PLR2004  # digits
    return Fault(int(code) if is_number else 0, text[:LONGEST_VALUE])
