"""What an administrator may decide. Pure: records and a wish in, edits and an answer out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from gatepost.coordination.labels import check_label
from gatepost.coordination.ledger import Decision
from gatepost.coordination.records import (
    NOBODY,
    DropKey,
    DropNode,
    DropUser,
    NodeRecord,
    PreAuthKey,
    PutKey,
    PutNode,
    PutUser,
    Records,
    User,
)
from gatepost.coordination.registration import digest_of
from gatepost.coordination.routes import LONGEST_LIST, check_route, parse_prefix
from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.admin import KeyRequest, NodeRequest, UserRequest
from gatepost.model.netmap import IPNetwork
from gatepost.model.route_choice import RouteChoice
from gatepost.policy.inventory import Role

V = TypeVar("V")

_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}(@[A-Za-z0-9.-]{1,190})?")
_TAG = re.compile(r"tag:[a-z][a-z0-9-]{0,62}")
OWNER, MEMBER = Role.OWNER.value, Role.MEMBER.value
ROLES = tuple(role.value for role in Role)
LONGEST_DISPLAY_NAME = 256  # characters
PREFIX_LENGTH = 16  # characters of a secret that are shown later
LONGEST_KEY = 366 * 86400.0  # seconds that a pre-auth key may live


def make_user(records: Records, wish: UserRequest, now: float) -> Decision[int]:
    name = _user_name(wish.name or "")
    if name in records.user_names:
        raise RefusedError(f"user {name} exists already")
    user = User(
        id=records.counters.user,
        name=name,
        display_name=_display_name(wish.display_name or ""),
        created=now,
        role=_role(wish.role or (MEMBER if records.users else OWNER)),
    )
    return Decision(user.id, (PutUser(user),))


def change_user(records: Records, which: str, wish: UserRequest) -> Decision[int]:
    user = find_user(records, which)
    changed = user
    if wish.name is not None and wish.name != user.name:
        if wish.name in records.user_names:
            raise RefusedError(f"user {wish.name} exists already")
        changed = replace(changed, name=_user_name(wish.name))
    if wish.display_name is not None:
        changed = replace(changed, display_name=_display_name(wish.display_name))
    if wish.role is not None:
        changed = replace(changed, role=_role(wish.role))
    return Decision(user.id, (PutUser(changed),) if changed != user else ())


def delete_user(records: Records, which: str) -> Decision[None]:
    user = find_user(records, which)
    nodes = [n.label for n in records.nodes.values() if n.user_id == user.id]
    if nodes:
        shown = ", ".join(sorted(nodes)[:5])
        raise RefusedError(
            f"user {user.name} still has {len(nodes)} nodes ({shown}): delete them first"
        )
    keys = [DropKey(k.id) for k in records.keys.values() if k.user_id == user.id]
    return Decision(None, (*keys, DropUser(user.id)))


def make_key(records: Records, wish: KeyRequest, secret: str, now: float) -> Decision[int]:
    """Make a pre-auth key; `secret` is long and random."""
    tags = tuple(dict.fromkeys(map(_tag, wish.tags)))
    if not wish.user and not tags:
        raise SettingsError("a key needs a user or tags: give one of them")
    if wish.lifetime is not None and not 0 < wish.lifetime <= LONGEST_KEY:
        raise SettingsError(
            f"lifetime {wish.lifetime:g} must be over 0 and at most {LONGEST_KEY:g} seconds"
        )
    key = PreAuthKey(
        id=records.counters.key,
        user_id=find_user(records, wish.user).id if wish.user else NOBODY,
        digest=digest_of(secret),
        prefix=secret[:PREFIX_LENGTH],
        reusable=wish.reusable,
        ephemeral=wish.ephemeral,
        tags=tags,
        created=now,
        expires=None if wish.lifetime is None else now + wish.lifetime,
    )
    return Decision(key.id, (PutKey(key),))


def revoke_key(records: Records, which: str) -> Decision[None]:
    key = _by_id(records.keys, which)
    if key is None:
        raise NotFoundError(f"there is no key {which!r}: `gatepost admin keys list` shows them")
    return Decision(None, () if key.revoked else (PutKey(replace(key, revoked=True)),))


def change_node(records: Records, which: str, wish: NodeRequest, now: float) -> Decision[int]:
    """Rename, expire, tag a node or approve its routes; None in the wish leaves things alone."""
    node = find_node(records, which)
    changed = node
    if wish.name is not None:
        changed = replace(changed, label=_free_label(records, node, wish.name), renamed=True)
    changed = replace(changed, approved_routes=_approved(node, wish))
    changed = replace(changed, **_route_wishes(wish))
    if wish.tags is not None:
        changed = replace(changed, tags=_tags_for(node, wish.tags))
    if wish.tags:
        changed = replace(changed, key_expiry=None)  # tagged nodes do not expire
    if wish.expire:
        changed = replace(changed, key_expiry=now)
    return Decision(node.id, (PutNode(changed),) if changed != node else ())


def delete_node(records: Records, which: str) -> Decision[None]:
    return Decision(None, (DropNode(find_node(records, which).id),))


def find_user(records: Records, which: str) -> User:
    """Return a user by id or name; a name counts first."""
    found = records.user_names.get(which)
    user = records.users[found] if found is not None else _by_id(records.users, which)
    if user is None:
        raise NotFoundError(f"there is no user {which!r}: `gatepost admin users list` shows them")
    return user


def find_node(records: Records, which: str) -> NodeRecord:
    """Return a node by id, label or full name; a label counts before an id."""
    label = which.partition(".")[0].lower()
    found = records.labels.get(label)
    node = records.nodes[found] if found is not None else _by_id(records.nodes, which)
    if node is None:
        raise NotFoundError(f"there is no node {which!r}: `gatepost admin nodes list` shows them")
    return node


def _by_id(things: Mapping[int, V], which: str) -> V | None:
    return things.get(int(which)) if which.isascii() and which.isdigit() else None


def _user_name(name: str) -> str:
    if not _USER_NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be a user name: use letters, digits and . _ + -, "
            "or the form name@domain"
        )
    return name


def _display_name(name: str) -> str:
    if len(name) > LONGEST_DISPLAY_NAME or not name.isprintable():
        raise SettingsError(f"a display name has up to {LONGEST_DISPLAY_NAME} printable characters")
    return name


def _role(role: str) -> str:
    if role not in ROLES:
        raise SettingsError(f"{role!r} is not a role: choose one of {', '.join(ROLES)}")
    return role


def _tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise SettingsError(f"{tag!r} is not a tag: write tag: and small letters, digits, hyphens")
    return tag


def _tags_for(node: NodeRecord, tags: tuple[str, ...]) -> tuple[str, ...]:
    if not tags and node.user_id == NOBODY:
        raise SettingsError(f"node {node.label} belongs to no user, so it must keep a tag")
    return tuple(dict.fromkeys(map(_tag, tags)))


def _free_label(records: Records, node: NodeRecord, name: str) -> str:
    label = check_label(name)
    if records.labels.get(label, node.id) != node.id:
        raise RefusedError(f"another node is called {label}: choose another name, or rename that")
    return label


def _approved(node: NodeRecord, wish: NodeRequest) -> tuple[IPNetwork, ...]:
    """Return what is approved then: the list, or the wished one; more; less."""
    given = wish.approved_routes
    routes = list(node.approved_routes) if given is None else _routes(given)
    routes = list(dict.fromkeys([*routes, *_routes(wish.approve_routes)]))
    if len(routes) > LONGEST_LIST:
        raise SettingsError(f"{len(routes)} routes are over {LONGEST_LIST}")
    for route in map(parse_prefix, dict.fromkeys(wish.unapprove_routes)):
        if route not in routes:
            raise NotFoundError(
                f"{node.label} has no approved route {route}: "
                "`gatepost admin routes list` shows them"
            )
        routes.remove(route)
    return tuple(routes)


def _route_wishes(wish: NodeRequest) -> dict[str, Any]:
    """Return the fields of a node that a wish changes: what it is shown and preferred for."""
    found = dict[str, Any]()  # fields of NodeRecord
    if wish.prefer_routes is not None:
        found["preferred_routes"] = tuple(_routes(wish.prefer_routes))
    if wish.accepts is not None:
        only = wish.accepts.only
        if len(only or ()) + len(wish.accepts.refused) > LONGEST_LIST:
            raise SettingsError(f"more than {LONGEST_LIST} networks to accept or to refuse")
        found["accepts"] = RouteChoice(
            only=None if only is None else tuple(map(parse_prefix, only)),
            refused=tuple(map(parse_prefix, wish.accepts.refused)),
        )
    return found


def _routes(texts: tuple[str, ...]) -> list[IPNetwork]:
    return [check_route(parse_prefix(text)) for text in dict.fromkeys(texts)]
