"""Ports and protocols, by number and by name. Source: tailcfg.ProtoPortRange, types/ipproto."""

from __future__ import annotations

import re

from gatepost.policy.document import ANY_PORT, LAST_PORT, Ports, Traffic
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import Place

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "fc": 133,
    "gre": 47,
    "icmp": ICMP,
    "icmpv4": ICMP,
    "icmpv6": ICMPV6,
    "igmp": 2,
    "igp": 9,
    "ip-in-ip": 4,
    "ipv4": 4,
    "ipv6-icmp": ICMPV6,
    "sctp": SCTP,
    "tcp": TCP,
    "tsmp": 99,
    "udp": UDP,
}
# The name that a number is shown by: the first, where it has several.
PREFERRED = {number: name for name, number in reversed(PROTOCOLS.items())} | {
    4: "ipv4",
    ICMPV6: "ipv6-icmp",
}
WITH_PORTS = frozenset({TCP, UDP, SCTP})
LAST_PROTOCOL = 255
_PARTS = 2  # protocol and ports

_DIGITS = re.compile(r"[0-9]{1,9}")


def parse_protocol(text: str, place: Place) -> int | None:
    """Return the number; None for "", the default protocols."""
    if not text:
        return None
    if text.lower() in PROTOCOLS:
        return PROTOCOLS[text.lower()]
    if _DIGITS.fullmatch(text):
        if text.startswith("0"):
            raise refuse(f'leading 0 not permitted in protocol number: "{text}"', place)
        if int(text) <= LAST_PROTOCOL:
            return int(text)
    raise refuse(
        f'proto name "{text}" not known; use protocol number 0-255 or protocol name '
        "(icmp, tcp, udp, etc.)",
        place,
    )


def parse_ports(text: str, place: Place, prefix: str = "") -> tuple[Ports, ...]:
    """Read `*`, `80`, `80-90`, or several with commas; `prefix` begins every message."""
    if text == "*":
        return (ANY_PORT,)
    if not text:
        raise refuse(f'{prefix}invalid port list: ""', place, 'write a port, or "*"')
    start = f'{prefix}port range "{text}": '
    return tuple(_range(part, place, start) for part in text.split(","))


def _range(text: str, place: Place, start: str) -> Ports:
    """Read one range; `start` begins every message and names the whole list."""
    hint = 'write 443, 8000-8080 or "*"'
    if text.count("-") > 1:
        raise refuse(f"{start}too many dashes(-)", place, hint)
    first_text, dash, last_text = text.partition("-")
    first = _number(first_text)
    if first is None:
        raise refuse(f"{start}invalid first integer", place, hint)
    last = _number(last_text) if dash else first
    if last is None:
        raise refuse(f"{start}invalid last integer", place, hint)
    if first == 0:
        raise refuse(f"{start}first port must be >0, or use '*' for wildcard", place)
    if first > last:
        raise refuse(
            f"{start}first port must be >= last port", place, f"write {last}-{first} instead"
        )
    return Ports(first, last)


def _number(text: str) -> int | None:
    if not _DIGITS.fullmatch(text) or int(text) > LAST_PORT:
        return None
    return int(text)


def parse_traffic(text: str, place: Place) -> Traffic:
    """Read one element of a grant's `ip`: `*`, `443`, `tcp:80-90`, `icmp:*`."""
    if not text:
        raise refuse("empty string", place, 'write "*", a port or protocol:ports')
    words = text.split(":")
    if len(words) > _PARTS:
        raise refuse(
            "expected only one colon in Internet protocol and port type, "
            f"got: [{' '.join(words)}]({len(words)})",
            place,
        )
    ports = parse_ports(words[-1], place)
    if len(words) == 1 or words[0] == "*":
        return Traffic(ports=ports, place=place)
    if not words[0]:
        raise refuse("empty protocol", place, 'write protocol:ports, such as "tcp:443"')
    return Traffic(protocol=parse_protocol(words[0], place), ports=ports, place=place)
