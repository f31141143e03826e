"""Whoever applies the first map and all differences knows what a newcomer is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import TypeVar

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.coordination.makers import (
    ALICE,
    MESH,
    NOW,
    disco_key,
    make_node,
    make_report,
    make_world,
    node_key,
)

from gatepost.coordination.delta import Messages
from gatepost.coordination.records import DropNode, PutNode, PutUser, User
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.sessions.netmap import MapState
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import MapResponse

NET = ip_network("10.1.0.0/16")
VIEWER = 1

T = TypeVar("T")


def nothing(_world: World, _node: Node) -> tuple[MapItem, ...]:
    return ()


def make_messages() -> Messages:
    return Messages(MESH, nothing)


def read(frame: bytes) -> MapResponse:
    return read_json(frame[4:], MapResponse)


def only(items: Sequence[T] | None) -> T:
    """Return the one item that there must be."""
    assert items is not None
    assert len(items) == 1
    return items[0]


def difference(old: World, new: World, viewer: int = VIEWER) -> MapResponse | None:
    key = new.nodes[viewer].record.key
    frame = make_messages().between(old, new, viewer, key, "")
    return read(frame) if frame else None


def edit(world: World, *edits: PutNode | DropNode | PutUser) -> World:
    touched = {e.node.id if isinstance(e, PutNode) else e.id: None
               for e in edits if not isinstance(e, PutUser)}  # fmt: skip
    return world.with_records(world.records.after(edits), touched, NOW)


def change(world: World, number: int, **report: object) -> World:
    node = world.nodes[number]
    return world.with_node(replace(node, report=replace(node.report, **report)))  # type: ignore[arg-type]  # any field


def see(world: World, number: int, **presence: bool) -> World:
    node = world.nodes[number]
    return world.with_node(replace(node, presence=replace(node.presence, **presence)))


def full_world() -> World:
    numbers = (1, 2, 3)
    return make_world(*map(make_node, numbers), reports={n: make_report(n) for n in numbers})


# --- the first message ------------------------------------------------------------
def test_the_first_map_has_all_that_a_client_needs() -> None:
    first = read(make_messages().first(full_world(), VIEWER, NOW, ""))

    assert first.node is not None
    assert first.node.name == "box-1.mesh.example."
    assert [p.id for p in first.peers or ()] == [2, 3]
    assert first.domain == "mesh.example"
    assert first.dns_config is not None
    assert (first.dns_config.proxied, first.dns_config.domains) == (True, ("mesh.example",))
    assert first.debug is not None
    assert first.debug.disable_log_tail
    assert first.derp_map is not None
    assert first.packet_filters is not None
    assert first.control_time is not None
    assert [p.login_name for p in first.user_profiles or ()] == ["alice"]
    assert (first.health, first.collect_services) == (None, False)


def test_a_lonely_node_is_sent_no_empty_peer_list() -> None:
    first = read(make_messages().first(make_world(make_node(1)), VIEWER, NOW, ""))

    assert first.peers is None


def test_an_expired_viewer_sees_nobody_and_lets_nothing_in() -> None:
    first = read(make_messages().first(see(full_world(), 1, expired=True), VIEWER, NOW, ""))

    assert first.peers is None
    assert first.packet_filters == {"base": ()}
    assert first.node is not None
    assert first.node.expired


def test_compressed_frames_hold_the_same_message() -> None:
    frame = make_messages().first(full_world(), VIEWER, NOW, "zstd")
    plain = make_messages().first(full_world(), VIEWER, NOW, "")

    assert zstandard.ZstdDecompressor().decompress(frame[4:]) == plain[4:]


# --- differences --------------------------------------------------------------------
def test_a_new_endpoint_is_a_patch_with_nothing_else() -> None:
    old = full_world()
    told = difference(old, change(old, 2, endpoints=("198.51.100.1:1",)))

    assert told is not None
    assert told.peers_changed is None
    patch = only(told.peers_changed_patch)
    assert patch.node_id == 2
    assert patch.endpoints == ("198.51.100.1:1",)
    assert (patch.disco_key, patch.online, patch.derp_region, patch.last_seen) == (None,) * 2 + (
        0,
        None,
    )


def test_a_new_disco_key_of_an_offline_node_mentions_no_presence() -> None:
    old = see(full_world(), 2, online=False)
    told = difference(old, change(old, 2, disco=disco_key(77)))

    assert told is not None
    patch = only(told.peers_changed_patch)
    assert (patch.disco_key, patch.online, patch.last_seen) == (disco_key(77), None, None)


def test_a_first_disco_key_or_relay_sends_the_whole_peer() -> None:
    old = make_world(make_node(1), make_node(2))
    new = change(old, 2, disco=disco_key(2), hostinfo=make_report(2).hostinfo)

    told = difference(old, new)

    assert told is not None
    peer = only(told.peers_changed)
    assert (peer.disco_key, peer.home_derp) == (disco_key(2), 900)


def test_going_offline_is_a_patch_with_the_time() -> None:
    old = see(full_world(), 2, online=True)
    node = old.nodes[2]
    gone = replace(
        node,
        presence=replace(node.presence, online=False),
        report=replace(node.report, last_seen=NOW),
    )

    told = difference(old, old.with_node(gone))

    assert told is not None
    patch = only(told.peers_changed_patch)
    assert patch.online is False
    assert patch.last_seen is not None
    assert patch.last_seen.timestamp() == NOW


def test_a_changed_name_sends_the_whole_peer() -> None:
    old = full_world()
    told = difference(old, edit(old, PutNode(make_node(2, label="new"))))

    assert told is not None
    assert [p.name for p in told.peers_changed or ()] == ["new.mesh.example."]


def test_a_deleted_node_is_removed() -> None:
    old = full_world()
    told = difference(old, edit(old, DropNode(3)))

    assert told is not None
    assert told.peers_removed == (3,)


def test_network_measurements_are_nobody_elses_business() -> None:
    old = full_world()
    node = old.nodes[2].report.hostinfo
    assert node.net_info is not None
    jitter = {"900-v4": 0.0123}
    noisy = type(node)(
        hostname=node.hostname,
        os=node.os,
        net_info=type(node.net_info)(preferred_derp=900, derp_latency=jitter),
    )

    assert difference(old, change(old, 2, hostinfo=noisy)) is None


def test_a_node_is_not_its_own_peer() -> None:
    old = full_world()
    new = change(change(old, 1, endpoints=("198.51.100.1:1",)), 2, endpoints=("198.51.100.2:2",))

    told = difference(old, new)

    assert told is not None
    assert [p.node_id for p in told.peers_changed_patch or ()] == [2]
    assert told.node is None


def test_nobody_is_told_of_its_own_endpoints() -> None:
    old = full_world()

    assert difference(old, change(old, 1, endpoints=("198.51.100.1:1",))) is None


def test_a_changed_self_is_sent_to_itself() -> None:
    old = full_world()
    told = difference(old, edit(old, PutNode(make_node(1, label="me"))))

    assert told is not None
    assert told.node is not None
    assert told.node.name == "me.mesh.example."
    assert told.peers_changed is None


def test_the_stream_of_an_old_key_is_not_told_of_the_new_self() -> None:
    old = full_world()
    new = edit(old, PutNode(make_node(1, key=node_key(99))))

    assert make_messages().between(old, new, VIEWER, node_key(1), "") == b""
    told = difference(old, new, viewer=2)
    assert told is not None
    assert [p.key for p in told.peers_changed or ()] == [node_key(99)]


def test_a_carried_subnet_opens_everybodys_filter_for_it() -> None:
    old = full_world()
    routed = change(edit(old, PutNode(make_node(2, approved_routes=(NET,)))), 2, routes=(NET,))

    told = difference(old, routed)

    assert told is not None
    assert told.packet_filters is not None
    rule = only([r for rules in told.packet_filters.values() for r in rules or ()])
    assert "10.1.0.0/16" in rule.src_ips
    peer = only(told.peers_changed)
    assert peer.allowed_ips == ("100.64.0.2/32", "fd7a:115c:a1e0::6440:2/128", "10.1.0.0/16")
    assert peer.primary_routes == ("10.1.0.0/16",)


def test_a_user_is_introduced_with_its_first_node_and_when_renamed() -> None:
    old = full_world()
    carol = User(id=7, name="carol", created=NOW)
    joined = edit(old, PutUser(carol), PutNode(make_node(4, user_id=7)))
    told = difference(old, joined)
    assert told is not None
    assert [p.login_name for p in told.user_profiles or ()] == ["carol"]

    again = difference(joined, edit(joined, PutNode(make_node(5, user_id=7))))
    renamed = difference(joined, edit(joined, PutUser(replace(ALICE, display_name="Alice A."))))

    assert again is not None
    assert again.user_profiles is None
    assert renamed is not None
    assert [p.display_name for p in renamed.user_profiles or ()] == ["Alice A."]


def test_tagged_nodes_belong_to_one_made_up_user() -> None:
    old = full_world()
    told = difference(old, edit(old, PutNode(make_node(2, tags=("tag:web",)))))

    assert told is not None
    peer = only(told.peers_changed)
    user = only(told.user_profiles)
    assert peer.tags == ("tag:web",)
    assert (peer.user, user.login_name) == (user.id, "tagged-devices")


def test_an_expiring_viewer_loses_its_peers() -> None:
    old = full_world()
    told = difference(old, see(old, 1, expired=True))

    assert told is not None
    assert told.peers_removed == (2, 3)
    assert set((told.packet_filters or {}).values()) == {None}
    assert told.node is not None
    assert told.node.expired


def test_viewers_of_one_world_get_the_very_same_bytes() -> None:
    messages, old = make_messages(), full_world()
    new = change(old, 3, endpoints=("198.51.100.1:1",))

    one = messages.between(old, new, 1, node_key(1), "zstd")
    other = messages.between(old, new, 2, node_key(2), "zstd")

    assert one is other


def test_an_evicted_node_is_told_that_its_key_has_expired() -> None:
    record = make_node(1)
    told = read(make_messages().eviction(record.key, record.machine, record.id, ""))

    assert told.node is not None
    assert told.node.key == record.key
    assert told.node.key_expiry is not None
    assert told.node.key_expiry.timestamp() < NOW


# --- the promise of it all -----------------------------------------------------------------
def put(world: World, number: int, **changes: object) -> World:
    record = world.nodes[number].record
    return edit(world, PutNode(replace(record, **changes)))  # type: ignore[arg-type]  # any field


def route(world: World, number: int) -> World:
    return change(put(world, number, approved_routes=(NET,)), number, routes=(NET,))


Step = Callable[[World, int, int], World]  # the world, a node in it, a fresh number
KINDS: dict[str, Step] = {
    "endpoints": lambda w, n, c: change(w, n, endpoints=(f"198.51.100.1:{c + 1}",)),
    "disco": lambda w, n, c: change(w, n, disco=disco_key(1000 + c)),
    "relay": lambda w, n, _: change(w, n, hostinfo=make_report(n).hostinfo),
    "online": lambda w, n, _: see(w, n, online=True),
    "offline": lambda w, n, _: see(w, n, online=False),
    "expire": lambda w, n, _: put(w, n, key_expiry=NOW),
    "name": lambda w, n, c: put(w, n, label=f"other-{c}"),
    "key": lambda w, n, c: put(w, n, key=node_key(1000 + c)),
    "drop": lambda w, n, _: w if n == VIEWER else edit(w, DropNode(n)),
    "tag": lambda w, n, _: put(w, n, tags=("tag:a",)),
    "route": lambda w, n, _: route(w, n),
    "unroute": lambda w, n, _: put(w, n, approved_routes=()),
    "join": lambda w, _, __: edit(w, PutNode(make_node(w.records.counters.node))),
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 5)), max_size=25)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.sets(st.integers(0, 25)))
def test_first_map_and_differences_make_what_a_newcomer_is_told(
    steps: list[tuple[str, int]], pauses: set[int]
) -> None:
    messages = make_messages()
    world = full_world()
    told, known = MapState(), world
    told.apply(read(messages.first(world, VIEWER, NOW, "")))
    for count, (kind, number) in enumerate(steps):
        if number in world.nodes:
            world = KINDS[kind](world, number, count)
        if count in pauses:
            continue
        key = world.nodes[VIEWER].record.key
        if frame := messages.between(known, world, VIEWER, key, ""):
            told.apply(read(frame))
        known = world
    key = world.nodes[VIEWER].record.key
    if frame := messages.between(known, world, VIEWER, key, ""):
        told.apply(read(frame))
    newcomer = MapState()
    newcomer.apply(read(messages.first(world, VIEWER, NOW, "")))

    mine, fresh = told.netmap(), newcomer.netmap()
    assert mine is not None
    assert fresh is not None
    assert mine.peers == fresh.peers
    assert mine.filter == fresh.filter
    assert mine.me == fresh.me
    assert fresh.users.items() <= mine.users.items()
