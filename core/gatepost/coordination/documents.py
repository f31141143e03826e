"""Values of this room as documents of the administration API. Pure."""

from __future__ import annotations

from gatepost.coordination.logins import Login
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.records import PreAuthKey, Records, User
from gatepost.coordination.world import Node, World
from gatepost.model.admin import (
    KeyDocument,
    NodeDocument,
    RegistrationDocument,
    RouteChoiceDocument,
    UserDocument,
)
from gatepost.wire.hostinfo import Hostinfo


def user_document(user: User, records: Records) -> UserDocument:
    return UserDocument(
        id=user.id,
        name=user.name,
        display_name=user.display_name,
        created=user.created,
        role=user.role,
        nodes=sum(1 for n in records.nodes.values() if n.user_id == user.id),
    )


def key_document(key: PreAuthKey, records: Records, secret: str = "") -> KeyDocument:
    owner = records.users.get(key.user_id)
    return KeyDocument(
        id=key.id,
        user=owner.name if owner else "",
        secret=secret,
        prefix=key.prefix,
        reusable=key.reusable,
        ephemeral=key.ephemeral,
        tags=key.tags,
        created=key.created,
        expires=key.expires,
        used=key.used,
        revoked=key.revoked,
    )


def node_document(node: Node, world: World, mesh: Mesh) -> NodeDocument:
    record, report = node.record, node.report
    owner = world.records.users.get(record.user_id)
    return NodeDocument(
        id=record.id,
        name=record.label,
        fqdn=mesh.name_of(node).rstrip("."),
        user=owner.name if owner else "",
        tags=record.tags,
        addresses=tuple(map(str, record.addresses)),
        node_key=str(record.key),
        machine_key=str(record.machine),
        operating_system=report.hostinfo.os,
        client_version=report.hostinfo.ipn_version,
        online=bool(node.presence.online),
        ephemeral=record.ephemeral,
        created=record.created,
        last_seen=report.last_seen,
        key_expiry=record.key_expiry,
        expired=node.presence.expired,
        announced_routes=tuple(map(str, report.routes)),
        approved_routes=tuple(map(str, dict.fromkeys((*record.approved_routes, *node.approved)))),
        primary_routes=tuple(map(str, node.primary_routes)),
        preferred_routes=tuple(map(str, record.preferred_routes)),
        accepts=RouteChoiceDocument(
            only=None if record.accepts.only is None else tuple(map(str, record.accepts.only)),
            refused=tuple(map(str, record.accepts.refused)),
        ),
        reachable=node.presence.reachable,
    )


def login_document(login: Login) -> RegistrationDocument:
    hostinfo = login.request.hostinfo or Hostinfo()
    return RegistrationDocument(
        id=login.id,
        hostname=hostinfo.hostname,
        operating_system=hostinfo.os,
        machine_key=str(login.machine),
        created=login.created,
    )
