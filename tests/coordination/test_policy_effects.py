"""What a policy, and a change of it, means to nodes that are connected."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from tests.coordination.makers import ALICE, BOB, MESH, NOW, make_node, make_report, make_world
from tests.policy.makers import accept, make_policy

from gatepost.coordination.delta import Messages
from gatepost.coordination.records import PolicyVersion, PutNode, PutPolicy, PutUser
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.sessions.netmap import MapState
from gatepost.wire.go_json import read_json
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapNode, MapResponse

NET = ip_network("10.1.0.0/16")
EXIT = (ip_network("0.0.0.0/0"), ip_network("::/0"))
CLIENT, SERVER, ROUTER, SPARE = 1, 2, 3, 4


def nothing(_world: World, _node: Node) -> tuple[MapItem, ...]:
    return ()


def make_messages() -> Messages:
    return Messages(MESH, nothing)


def make_mesh() -> World:
    """Return a person's machine, a web server, and two routers of one subnet."""
    routes = {"routes": (NET, *EXIT)}
    return make_world(
        make_node(CLIENT),
        make_node(SERVER, user_id=BOB.id, tags=("tag:web",)),
        make_node(ROUTER, tags=("tag:router",), approved_routes=(NET, *EXIT)),
        make_node(SPARE, tags=("tag:exit",), approved_routes=(NET,)),
        reports={
            CLIENT: make_report(CLIENT),
            SERVER: make_report(SERVER),
            ROUTER: make_report(ROUTER, **routes),
            SPARE: make_report(SPARE, **routes),
        },
    )


def under(world: World, **sections: object) -> World:
    """Return the world with a policy in force."""
    number = world.records.policy.id + 1 if world.records.policy else 1
    version = PolicyVersion(id=number, text=make_policy(**sections), author="a test", created=NOW)
    return world.with_records(world.records.after([PutPolicy(version)]), {}, NOW)


def first(world: World, viewer: int) -> MapResponse:
    return read_json(make_messages().first(world, viewer, NOW, "")[4:], MapResponse)


def difference(old: World, new: World, viewer: int) -> MapResponse | None:
    frame = make_messages().between(old, new, viewer, new.nodes[viewer].record.key, "")
    return read_json(frame[4:], MapResponse) if frame else None


def peers(answer: MapResponse) -> dict[int, MapNode]:
    return {p.id: p for p in answer.peers or ()}


def test_whoever_may_reach_nobody_sees_nobody() -> None:
    world = under(make_mesh(), acls=[accept("tag:router", "tag:web:80")])

    assert peers(first(world, CLIENT)) == {}
    assert set(peers(first(world, SERVER))) == {ROUTER}
    assert set(peers(first(world, ROUTER))) == {SERVER}


def test_an_edit_that_lets_two_meet_makes_them_peers() -> None:
    old = under(make_mesh(), acls=[])
    new = under(old, acls=[accept("alice@", "tag:web:80")])

    told_client, told_server = difference(old, new, CLIENT), difference(old, new, SERVER)

    assert told_client is not None
    assert [p.id for p in told_client.peers_changed or ()] == [SERVER]
    assert told_client.packet_filters is None
    assert told_server is not None
    assert [p.id for p in told_server.peers_changed or ()] == [CLIENT]
    assert [p.login_name for p in told_server.user_profiles or ()] == ["alice"]
    (rules,) = (told_server.packet_filters or {}).values()
    assert rules is not None
    assert [d.ports.first for d in rules[0].dst_ports or ()] == [80, 80]


def test_an_edit_that_parts_two_takes_the_peer_and_the_filter_away() -> None:
    old = under(make_mesh(), acls=[accept("alice@", "tag:web:80")])
    new = under(old, acls=[])

    told = difference(old, new, SERVER)

    assert told is not None
    assert told.peers_removed == (CLIENT,)
    assert set((told.packet_filters or {}).values()) == {None}


def test_only_the_part_of_the_filter_that_changed_is_sent() -> None:
    stays = accept("tag:router", "tag:web:443")
    old = under(make_mesh(), acls=[stays, accept("alice@", "tag:web:80")])
    new = under(old, acls=[stays, accept("alice@", "tag:web:81")])

    told = difference(old, new, SERVER)

    assert told is not None
    (rules,) = (told.packet_filters or {}).values()
    assert [d.ports.first for r in rules or () for d in r.dst_ports or ()] == [81, 81]


def test_an_edit_that_means_the_same_is_not_told() -> None:
    old = under(make_mesh(), acls=[accept("alice@", "tag:web:80")])
    new = under(old, acls=[accept("alice@", "tag:web:80")], hosts={"unused": "10.0.0.1"})

    assert difference(old, new, CLIENT) is None
    assert difference(old, new, SERVER) is None


def test_a_subnet_shows_only_to_those_who_may_use_it() -> None:
    world = under(
        make_mesh(), acls=[accept("alice@", "10.1.0.0/16:*"), accept("tag:web", "tag:router:22")]
    )

    assert peers(first(world, CLIENT))[ROUTER].primary_routes == ("10.1.0.0/16",)
    assert "10.1.0.0/16" in (peers(first(world, CLIENT))[ROUTER].allowed_ips or ())
    assert peers(first(world, SERVER))[ROUTER].primary_routes is None
    assert "10.1.0.0/16" not in (peers(first(world, SERVER))[ROUTER].allowed_ips or ())


def test_an_exit_node_is_one_for_those_who_may_use_the_internet() -> None:
    world = under(
        make_mesh(),
        acls=[accept("alice@", "autogroup:internet:*"), accept("tag:web", "tag:router:22")],
    )

    shown = peers(first(world, CLIENT))[ROUTER]
    assert set(shown.allowed_ips or ()) >= {"0.0.0.0/0", "::/0"}
    assert shown.cap_map == {"suggest-exit-node": None}
    hidden = peers(first(world, SERVER))[ROUTER]
    assert not set(hidden.allowed_ips or ()) & {"0.0.0.0/0", "::/0"}
    assert hidden.cap_map is None
    assert SPARE not in peers(first(world, CLIENT))


def test_via_steers_some_viewers_through_another_router() -> None:
    steered = {"src": ["alice@"], "dst": ["10.1.0.0/16"], "ip": ["*"], "via": ["tag:exit"]}
    world = under(
        make_mesh(), grants=[steered, {"src": ["tag:web"], "dst": ["10.1.0.0/16"], "ip": ["*"]}]
    )

    assert peers(first(world, CLIENT))[SPARE].primary_routes == ("10.1.0.0/16",)
    assert peers(first(world, SERVER))[ROUTER].primary_routes == ("10.1.0.0/16",)
    assert peers(first(world, SERVER))[SPARE].primary_routes is None


def test_an_announced_route_that_the_policy_approves_needs_nobody() -> None:
    approvers = {"routes": {"10.0.0.0/8": ["tag:web"]}, "exitNode": ["alice@"]}
    world = under(make_mesh(), acls=[accept("*", "*:*")], autoApprovers=approvers)
    node = world.nodes[SERVER]
    report = replace(node.report, routes=(ip_network("10.9.0.0/16"), *EXIT))
    world = world.with_node(replace(node, report=report))

    assert world.nodes[SERVER].carried == (ip_network("10.9.0.0/16"),)
    assert peers(first(world, CLIENT))[SERVER].primary_routes == ("10.9.0.0/16",)

    without = under(world, acls=[accept("*", "*:*")])
    assert without.nodes[SERVER].carried == ()


def test_a_node_attribute_comes_and_goes_with_the_policy() -> None:
    attribute = {"target": ["tag:web"], "attr": ["funnel"]}
    old = under(make_mesh(), acls=[accept("*", "*:*")])
    new = under(old, acls=[accept("*", "*:*")], nodeAttrs=[attribute])

    told = difference(old, new, SERVER)

    assert told is not None
    assert told.node is not None
    assert "funnel" in (told.node.cap_map or {})
    assert difference(old, new, CLIENT) is None


def test_a_node_that_offers_ssh_hears_who_may_sign_in() -> None:
    rule = {"action": "accept", "src": ["alice@"], "dst": ["tag:web"], "users": ["root"]}
    world = make_mesh()
    node = world.nodes[SERVER]
    hostinfo = Hostinfo(ssh_host_keys=("ssh-ed25519 AAAA",))
    old = world.with_node(replace(node, report=replace(node.report, hostinfo=hostinfo)))
    new = under(old, acls=[accept("*", "*:*")], ssh=[rule])

    told = difference(old, new, SERVER)
    assert told is not None
    assert told.ssh_policy is not None
    assert [p["nodeIP"] for p in told.ssh_policy["rules"][0]["principals"]] == [
        "100.64.0.1",
        "fd7a:115c:a1e0::6440:1",
    ]
    assert difference(old, new, CLIENT) is None
    gone = difference(new, under(new, acls=[accept("*", "*:*")]), SERVER)
    assert gone is not None
    assert gone.ssh_policy == {"rules": []}


def test_a_new_role_counts_for_the_rules_at_once() -> None:
    old = under(make_mesh(), acls=[accept("autogroup:admin", "tag:web:22")])
    records = old.records.after([PutUser(replace(ALICE, role="admin"))])
    new = old.with_records(records, {}, NOW)

    assert peers(first(old, CLIENT)) == {}
    assert set(peers(first(new, CLIENT))) == {SERVER}


def test_another_tag_changes_whom_a_node_sees() -> None:
    old = under(make_mesh(), acls=[accept("alice@", "tag:web:80")])
    record = replace(old.nodes[SPARE].record, tags=("tag:web",))
    new = old.with_records(old.records.after([PutNode(record)]), {SPARE: None}, NOW)

    told = difference(old, new, CLIENT)
    assert told is not None
    assert [p.id for p in told.peers_changed or ()] == [SPARE]


def test_the_sum_of_all_differences_is_the_first_map() -> None:
    policies: tuple[dict[str, object], ...] = (
        {"acls": [accept("*", "*:*")]},
        {"acls": [accept("alice@", "tag:web:80")]},
        {"acls": []},
        {"acls": [accept("alice@", ["10.1.0.0/16:*", "autogroup:internet:*"])]},
        {"acls": [accept("*", "*:*")], "disableIPv4": True},
        {"grants": [{"src": ["*"], "dst": ["*"], "app": {"example.com/cap/x": [{}]}}]},
    )
    world = make_mesh()
    states = {v: MapState() for v in world.nodes}
    for viewer, state in states.items():
        state.apply(first(world, viewer))
    for sections in policies:
        old, world = world, under(world, **sections)
        for viewer, state in states.items():
            told = difference(old, world, viewer)
            if told is not None:
                state.apply(told)
            newcomer = MapState()
            newcomer.apply(first(world, viewer))

            known, wanted = state.netmap(), newcomer.netmap()
            assert known is not None
            assert wanted is not None
            assert known.peers == wanted.peers
            assert known.filter == wanted.filter
            assert known.grants == wanted.grants
            assert known.me == wanted.me


def test_relays_of_the_policy_are_sent_beside_our_own() -> None:
    node = {"Name": "7a", "RegionID": 7, "HostName": "relay.example"}
    region = {"RegionID": 7, "RegionCode": "lab", "Nodes": [node]}
    old = make_mesh()
    new = under(old, acls=[accept("*", "*:*")], derpMap={"Regions": {"7": region}})

    told = difference(old, new, CLIENT)

    assert told is not None
    assert told.derp_map is not None
    assert set(told.derp_map.regions or {}) == {*(MESH.derp_map.regions or {}), "7"}
    assert first(new, CLIENT).derp_map == told.derp_map
    assert first(old, CLIENT).derp_map == MESH.derp_map
