"""Whom each node is told to ask for the names of apps, and who may then go there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from msgspec.structs import replace as with_fields
from tests.coordination.makers import ALICE, BOB, MESH, NOW, make_node, make_report, make_world
from tests.policy.makers import accept, make_policy

from gatepost.coordination.apps import app_routes, connectors
from gatepost.coordination.delta import Messages
from gatepost.coordination.records import PolicyVersion, PutPolicy, Report
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.wire.go_json import read_json
from gatepost.wire.hostinfo import Service
from gatepost.wire.netmap import MapResponse

USER, GUEST, CONNECTOR, SPARE = 1, 2, 3, 4
LEARNED = (ip_network("203.0.113.80/32"), ip_network("2001:db8::80/128"))
URL = "http://100.64.0.3:40003/dns-query"
SPARE_URL = "http://100.64.0.4:40004/dns-query"


def make_app(*domains: str, connectors: tuple[str, ...] = ("tag:router",)) -> dict[str, object]:
    return {"name": "apps", "connectors": [*connectors], "domains": [*domains]}


def make_connector(number: int, *, routes: bool = True) -> Report:
    port = 40000 + number
    services = (Service(proto="peerapi4", port=port), Service(proto="peerapi6", port=port))
    report = make_report(number, routes=LEARNED if routes else ())
    hostinfo = with_fields(report.hostinfo, app_connector=True, services=services)
    return replace(report, hostinfo=hostinfo)


def make_mesh(*apps: dict[str, object], **sections: object) -> World:
    """Return alice, who may use the internet, bob, who may not, and two connectors."""
    world = make_world(
        make_node(USER),
        make_node(GUEST, user_id=BOB.id),
        make_node(CONNECTOR, tags=("tag:router",)),
        make_node(SPARE, tags=("tag:exit",)),
        reports={
            USER: make_report(USER),
            GUEST: make_report(GUEST),
            CONNECTOR: make_connector(CONNECTOR),
            SPARE: make_connector(SPARE, routes=False),
        },
    )
    given = apps or (make_app("wiki.example", "*.Apps.Example."),)
    policy = {
        "acls": [
            accept(ALICE.name + "@", "autogroup:internet:*"),
            accept(BOB.name + "@", ["tag:router:443", "tag:exit:443"]),
        ],
        "nodeAttrs": [{"target": ["*"], "app": {"tailscale.com/app-connectors": [*given]}}],
        "autoApprovers": {"routes": {"0.0.0.0/0": ["tag:router"], "::/0": ["tag:router"]}},
    }
    version = PolicyVersion(
        id=1, text=make_policy(**{**policy, **sections}), author="a test", created=NOW
    )
    return world.with_records(world.records.after([PutPolicy(version)]), {}, NOW)


def asked(world: World, viewer: int) -> dict[str, list[str]]:
    """Return the URLs that a viewer asks, by suffix."""
    found = app_routes(world, connectors(world), viewer)
    return {suffix: [r.addr for r in resolvers] for suffix, resolvers in found.items()}


def nothing(_world: World, _node: Node) -> tuple[MapItem, ...]:
    return ()


def test_who_may_use_the_internet_asks_the_connector() -> None:
    world = make_mesh()

    assert asked(world, USER) == {"apps.example": [URL], "wiki.example": [URL]}


def test_nobody_else_does_and_a_connector_does_not_ask_itself() -> None:
    world = make_mesh()

    assert asked(world, GUEST) == {}
    assert asked(world, CONNECTOR) == {}


def test_a_policy_without_rules_lets_everybody() -> None:
    world = make_mesh(acls=[accept("*", "*:*")])

    assert asked(world, GUEST) == asked(world, USER) != {}


def test_all_connectors_of_an_app_are_told_those_online_first() -> None:
    world = make_mesh(make_app("wiki.example", connectors=("tag:router", "tag:exit")))
    first = world.nodes[CONNECTOR]
    gone = world.with_node(replace(first, presence=replace(first.presence, online=False)))

    assert asked(world, USER) == {"wiki.example": [URL, SPARE_URL]}
    assert asked(gone, USER) == {"wiki.example": [SPARE_URL, URL]}


def test_each_app_has_its_own_connectors() -> None:
    world = make_mesh(make_app("wiki.example"), make_app("shop.example", connectors=("tag:exit",)))

    assert asked(world, USER) == {"shop.example": [SPARE_URL], "wiki.example": [URL]}
    assert asked(make_mesh(make_app("a.example", connectors=("*",))), USER) == {
        "a.example": [URL, SPARE_URL]
    }


def test_a_node_that_is_no_connector_or_cannot_be_asked_is_left_out() -> None:
    world = make_mesh()
    node = world.nodes[CONNECTOR]
    plain = with_fields(node.report.hostinfo, app_connector=None)
    deaf = with_fields(node.report.hostinfo, services=None)
    for hostinfo in (plain, deaf):
        changed = replace(node, report=replace(node.report, hostinfo=hostinfo))

        assert asked(world.with_node(changed), USER) == {}


def test_a_viewer_without_ipv4_asks_by_ipv6() -> None:
    attributes = [
        {"target": ["*"], "app": {"tailscale.com/app-connectors": [make_app("wiki.example")]}},
        {"target": [ALICE.name + "@"], "attr": ["disable-ipv4"]},
    ]
    world = make_mesh(nodeAttrs=attributes)

    assert asked(world, USER) == {
        "wiki.example": ["http://[fd7a:115c:a1e0::6440:3]:40003/dns-query"]
    }


def test_learned_routes_are_seen_by_those_who_may_use_them() -> None:
    messages, world = Messages(MESH, nothing), make_mesh()

    def routes(viewer: int) -> set[str]:
        told = read_json(messages.first(world, viewer, NOW, "")[4:], MapResponse)
        peer = next(p for p in told.peers or () if p.id == CONNECTOR)
        return {*(peer.allowed_ips or ())} - {*(peer.addresses or ())}

    assert routes(USER) == {str(r) for r in LEARNED}
    assert routes(GUEST) == set()


def test_a_connector_lets_in_who_may_use_the_internet() -> None:
    messages, world = Messages(MESH, nothing), make_mesh()
    told = read_json(messages.first(world, CONNECTOR, NOW, "")[4:], MapResponse)
    rules = [r for part in (told.packet_filters or {}).values() for r in part or ()]
    internet = [r for r in rules if any(d.ip.startswith("0.0.0.0-") for d in r.dst_ports or ())]

    assert [r.src_ips for r in internet] == [("100.64.0.1", "fd7a:115c:a1e0::6440:1")]
    assert world.nodes[CONNECTOR].carried == LEARNED


def test_a_first_answer_says_whom_to_ask_and_the_mesh_keeps_its_own_names() -> None:
    messages, world = Messages(MESH, nothing), make_mesh(make_app("wiki.example", "mesh.example"))
    told = read_json(messages.first(world, USER, NOW, "")[4:], MapResponse)

    assert told.dns_config is not None
    routes = told.dns_config.routes or {}
    assert [r.addr for r in routes["wiki.example"] or ()] == [URL]
    assert routes["mesh.example"] == ()


def test_a_change_of_connectors_is_told_to_those_who_ask_them_alone() -> None:
    messages, old = Messages(MESH, nothing), make_mesh()
    node = old.nodes[CONNECTOR]
    deaf = replace(node.report, hostinfo=with_fields(node.report.hostinfo, services=None))
    new = old.with_node(replace(node, report=deaf))

    def told(before: World, after: World, viewer: int) -> MapResponse | None:
        frame = messages.between(before, after, viewer, after.nodes[viewer].record.key, "")
        return read_json(frame[4:], MapResponse) if frame else None

    lost = told(old, new, USER)
    assert lost is not None
    assert lost.dns_config is not None
    assert lost.dns_config.routes == {"mesh.example": ()}
    for viewer in (GUEST, CONNECTOR):
        heard = told(old, new, viewer)
        assert heard is None or heard.dns_config is None


def test_learning_one_more_address_says_nothing_of_names() -> None:
    messages, old = Messages(MESH, nothing), make_mesh()
    node = old.nodes[CONNECTOR]
    more = replace(node.report, routes=(*LEARNED, ip_network("203.0.113.81/32")))
    new = old.with_node(replace(node, report=more))
    frame = messages.between(old, new, USER, new.nodes[USER].record.key, "")
    told = read_json(frame[4:], MapResponse)

    assert told.dns_config is None
    assert told.peers_changed is not None
    assert "203.0.113.81/32" in (told.peers_changed[0].allowed_ips or ())
