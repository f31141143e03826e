"""Nodes and what they report: rows <-> values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_network

from sqlalchemy import Connection

from gatepost.coordination.database import tables
from gatepost.coordination.database.rows import Row, put, read_list, rows, write_list
from gatepost.coordination.records import NOBODY, NodeRecord, Report
from gatepost.model.keys import DiscoPublic, MachinePublic, NodePublic
from gatepost.model.netmap import IPNetwork
from gatepost.model.route_choice import RouteChoice
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.hostinfo import Hostinfo


def read_nodes(connection: Connection) -> dict[int, NodeRecord]:
    return {r["id"]: _node(r) for r in rows(connection, tables.nodes)}


def node_row(node: NodeRecord) -> Row:
    return {
        "id": node.id,
        "user_id": node.user_id or None,
        "machine": node.machine.raw,
        "key": node.key.raw,
        "label": node.label,
        "renamed": node.renamed,
        "address": str(node.address),
        "tags": write_list(node.tags),
        "ephemeral": node.ephemeral,
        "created": node.created,
        "key_expiry": node.key_expiry,
        "approved_routes": _text(node.approved_routes),
        "only_routes": None if node.accepts.only is None else _text(node.accepts.only),
        "refused_routes": _text(node.accepts.refused),
        "preferred_routes": _text(node.preferred_routes),
    }


def _node(row: Row) -> NodeRecord:
    values = dict(row)
    values["user_id"] = values["user_id"] or NOBODY
    values["machine"] = MachinePublic(values["machine"])
    values["key"] = NodePublic(values["key"])
    values["address"] = IPv4Address(values["address"])
    values["tags"] = read_list(values["tags"])
    values["approved_routes"] = _prefixes(values["approved_routes"])
    values["preferred_routes"] = _prefixes(values["preferred_routes"])
    only, refused = values.pop("only_routes"), values.pop("refused_routes")
    values["accepts"] = RouteChoice(
        only=None if only is None else _prefixes(only), refused=_prefixes(refused)
    )
    return NodeRecord(**values)


def _text(prefixes: Iterable[IPNetwork]) -> str:
    return write_list([str(p) for p in prefixes])


def _prefixes(text: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(p) for p in read_list(text))


def read_primaries(connection: Connection) -> dict[IPNetwork, int]:
    return {ip_network(r["prefix"]): r["node_id"] for r in rows(connection, tables.primaries)}


def write_primaries(connection: Connection, primaries: Mapping[IPNetwork, int]) -> None:
    """Replace the whole table."""
    connection.execute(tables.primaries.delete())
    put(
        connection,
        tables.primaries,
        [{"prefix": str(p), "node_id": n} for p, n in primaries.items()],
    )


def read_reports(connection: Connection) -> dict[int, Report]:
    return {r["node_id"]: _report(r) for r in rows(connection, tables.reports)}


def report_row(node_id: int, report: Report) -> Row:
    return {
        "node_id": node_id,
        "hostinfo": write_json(report.hostinfo),
        "endpoints": write_list(report.endpoints),
        "disco": report.disco.raw if report.disco else None,
        "version": report.version,
        "last_seen": report.last_seen,
    }


def _report(row: Row) -> Report:
    hostinfo = read_json(row["hostinfo"], Hostinfo)
    return Report(
        hostinfo=hostinfo,
        routes=tuple(ip_network(p) for p in hostinfo.routable_ips or ()),
        endpoints=read_list(row["endpoints"]),
        disco=DiscoPublic(row["disco"]) if row["disco"] else None,
        version=row["version"],
        last_seen=row["last_seen"],
    )
