"""The text of /etc/resolv.conf (resolv.conf(5)), read and written. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from gatepost.model.names import NameServer, plain_server
from gatepost.model.netmap import IPAddress
from gatepost.model.resolver import HostResolver

MARKER = "# Made by gatepostd."
MOST_SERVERS = 3  # that the C library reads (MAXNS)
MOST_SEARCH = 6  # that every C library reads (MAXDNSRCH before glibc 2.26)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """What counts in the file. Addresses with a zone are left out: they mean one link alone."""

    servers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def read_resolv_conf(text: str) -> ResolvConf:
    """Read what can be read; the C library ignores the rest, too."""
    servers, search, options = list[IPAddress](), tuple[str, ...](), list[str]()
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        match words:
            case ["nameserver", address, *_]:
                servers += _address(address)
            case ["search" | "domain", *names]:
                search = tuple(n.strip(".").lower() for n in names if n.strip("."))
            case ["options", *more]:
                options += more
            case _:
                continue
    return ResolvConf(servers=tuple(servers), search=search, options=tuple(options))


def _address(text: str) -> list[IPAddress]:
    try:
        return [] if "%" in text else [ip_address(text)]
    except ValueError:
        return []


def host_servers(conf: ResolvConf, ours: frozenset[IPAddress]) -> tuple[NameServer, ...]:
    """Return whom the file names, but for ourselves."""
    return tuple(plain_server(a) for a in conf.servers if a not in ours)


def write_resolv_conf(wish: HostResolver, before: ResolvConf, kept: str) -> str:
    """Return the whole file; `kept` says where the one is that was there before."""
    servers = dict.fromkeys((*wish.servers, *wish.spare))
    lines = [
        f"{MARKER} {kept}",
        "# It comes back with `gatepost down` or `gatepost set --accept-dns=false`;",
        "# what is changed here is lost.",
        *(f"nameserver {address}" for address in list(servers)[:MOST_SERVERS]),
    ]
    if wish.search:
        lines.append(f"search {' '.join(wish.search[:MOST_SEARCH])}")
    if before.options:
        lines.append(f"options {' '.join(before.options)}")
    return "\n".join(lines) + "\n"


def is_ours(text: str) -> bool:
    return text.startswith(MARKER)


def without_us(text: str, ours: frozenset[IPAddress]) -> str:
    """Return our own file without ourselves, for when nobody knows what was there before."""
    kept = list[str]()
    for line in text.splitlines():
        words = line.split()
        is_server = len(words) > 1 and words[0] == "nameserver"
        if line.startswith("#") or (is_server and set(_address(words[1])) & ours):
            continue
        kept.append(line)
    return "\n".join(kept) + "\n" if kept else ""
