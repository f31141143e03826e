"""Reads what the operator writes about routers. Nothing else gets into FRR's configuration."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, ip_address
from pathlib import Path

from gatepost.api import BgpNeighbour

LARGEST = (1 << 32) - 1  # number of an autonomous system (RFC 6793), and of an area
_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}", re.ASCII)  # Linux: IFNAMSIZ is 16


def read_neighbour(text: str) -> BgpNeighbour:
    """Read "10.1.0.9 as 65002" or that with "password-file /etc/…"; raise `ValueError`."""
    words = text.split(maxsplit=4)
    match words:
        case [address, "as", number]:
            file = None
        case [address, "as", number, "password-file", path]:
            file = Path(path.strip())
            if not file.is_absolute():
                raise ValueError(f"{path} in {text!r} is no whole path: it begins with /")
        case _:
            raise ValueError(f"{text!r} is not like 10.1.0.9 as 65002")
    try:
        router = ip_address(address)
    except ValueError:
        raise ValueError(f"{address!r} in {text!r} is not an IP address") from None
    if "%" in address or router.is_link_local or router.is_unspecified or router.is_multicast:
        raise ValueError(f"{address} in {text!r} is no address of one router that is always there")
    return BgpNeighbour(address=router, number=_number(number, text), password_file=file)


def _number(text: str, whole: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST))
    if not is_number or not 1 <= int(text) <= LARGEST:
        raise ValueError(f"{text!r} in {whole!r} is no AS number: 1 to {LARGEST}")
    return int(text)


def read_area(text: str) -> IPv4Address:
    """Read "0", "51" or "0.0.0.51"; raise `ValueError`."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST)):
        if int(text) <= LARGEST:
            return IPv4Address(int(text))
    else:
        try:
            return IPv4Address(text)
        except AddressValueError:
            pass
    raise ValueError(f"{text!r} is no OSPF area: a number such as 0, or 0.0.0.51")


def read_link(text: str) -> str:
    """Return the name of a network device as it is; raise `ValueError` for what is none."""
    if not _LINK.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a network device such as lan0")
    return text
