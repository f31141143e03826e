"""What an administrator may decide, and what is refused with a reason."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from msgspec import convert
from tests.coordination.makers import ALICE, BOB, NOW, make_key, make_node, make_records

from gatepost.coordination import administration as admin
from gatepost.coordination.records import NOBODY, DropKey, DropNode, DropUser, Records
from gatepost.coordination.routes import LONGEST_LIST
from gatepost.errors import GatepostError, NotFoundError, RefusedError, SettingsError
from gatepost.model.admin import KeyRequest, NodeRequest, UserRequest

SECRET = "gpauth-abcdefghijklmnop"  # noqa: S105  # a test's


def changed(records: Records, which: str, wish: NodeRequest) -> Records:
    return records.after(admin.change_node(records, which, wish, NOW).edits)


def test_a_user_is_made_renamed_and_deleted() -> None:
    made = admin.make_user(make_records(), UserRequest(name="carol@example.org"), NOW)
    records = make_records().after(made.edits)
    assert records.users[made.answer].name == "carol@example.org"

    renamed = admin.change_user(
        records, "carol@example.org", UserRequest(name="carol", display_name="Carol")
    )
    records = records.after(renamed.edits)
    assert (records.users[3].name, records.users[3].display_name) == ("carol", "Carol")

    assert 3 not in records.after(admin.delete_user(records, "carol").edits).users


@pytest.mark.parametrize("name", ["", "a b", "-x", "<b>", "x" * 70, "a@", "a@b c"])
def test_a_wrong_user_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a user name"):
        admin.make_user(make_records(), UserRequest(name=name), NOW)


def test_a_user_name_is_given_once() -> None:
    with pytest.raises(RefusedError, match="alice exists"):
        admin.make_user(make_records(), UserRequest(name="alice"), NOW)
    with pytest.raises(RefusedError, match="alice exists"):
        admin.change_user(make_records(), "bob", UserRequest(name="alice"))


def test_a_user_with_nodes_cannot_be_deleted() -> None:
    with pytest.raises(RefusedError, match=r"1 nodes \(box-1\)"):
        admin.delete_user(make_records(make_node(1)), "alice")


def test_with_a_user_go_its_keys() -> None:
    records = make_records(make_key(1), make_key(2, "other", user_id=BOB.id))

    assert admin.delete_user(records, "alice").edits == (DropKey(1), DropUser(ALICE.id))


def test_a_key_keeps_no_secret() -> None:
    wish = KeyRequest(user="alice", reusable=True, tags=("tag:web",), lifetime=60)

    decision = admin.make_key(make_records(), wish, SECRET, NOW)

    key = make_records().after(decision.edits).keys[decision.answer]
    assert (key.user_id, key.reusable, key.tags, key.expires) == (
        ALICE.id,
        True,
        ("tag:web",),
        NOW + 60,
    )
    assert SECRET not in repr(key)
    assert SECRET.startswith(key.prefix)


def test_a_key_may_belong_to_its_tags_only() -> None:
    decision = admin.make_key(make_records(), KeyRequest(tags=("tag:web",)), SECRET, NOW)

    assert make_records().after(decision.edits).keys[1].user_id == NOBODY


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (KeyRequest(), "a user or tags"),
        (KeyRequest(user="nobody"), "no user 'nobody'"),
        (KeyRequest(user="alice", tags=("web",)), "'web' is not a tag"),
        (KeyRequest(user="alice", tags=("tag:Web",)), "tag:Web"),
        (KeyRequest(user="alice", lifetime=0), "lifetime 0"),
        (KeyRequest(user="alice", lifetime=1e12), "lifetime 1e"),
    ],
)
def test_a_wrong_key_is_refused(wish: KeyRequest, reason: str) -> None:
    with pytest.raises(GatepostError, match=reason):
        admin.make_key(make_records(), wish, SECRET, NOW)


def test_a_key_is_revoked_once() -> None:
    records = make_records(make_key())
    after = records.after(admin.revoke_key(records, "1").edits)

    assert after.keys[1].revoked
    assert admin.revoke_key(after, "1").edits == ()
    with pytest.raises(NotFoundError, match="no key '7'"):
        admin.revoke_key(records, "7")


def test_a_renamed_node_keeps_the_name() -> None:
    node = changed(make_records(make_node(1)), "box-1", NodeRequest(name="Gate")).nodes[1]

    assert (node.label, node.renamed) == ("gate", True)


def test_a_name_is_given_once() -> None:
    records = make_records(make_node(1), make_node(2))

    with pytest.raises(RefusedError, match="another node is called box-2"):
        admin.change_node(records, "1", NodeRequest(name="box-2"), NOW)
    assert changed(records, "1", NodeRequest(name="box-1")).nodes[1].renamed


def test_routes_are_approved_as_a_whole_list() -> None:
    wish = NodeRequest(approved_routes=("10.1.0.0/16", "0.0.0.0/0", "10.1.0.0/16"))

    node = changed(make_records(make_node(1)), "1", wish).nodes[1]

    assert node.approved_routes == (ip_network("10.1.0.0/16"), ip_network("0.0.0.0/0"))
    emptied = changed(make_records(node), "1", NodeRequest(approved_routes=()))
    assert emptied.nodes[1].approved_routes == ()


def test_approving_and_taking_back_leave_the_other_routes_alone() -> None:
    records = make_records(make_node(1, approved_routes=(ip_network("10.1.0.0/16"),)))
    more = changed(records, "1", NodeRequest(approve_routes=("10.2.0.0/16", "10.1.0.0/16")))
    less = changed(more, "1", NodeRequest(unapprove_routes=("10.1.0.0/16",)))

    assert set(map(str, more.nodes[1].approved_routes)) == {"10.1.0.0/16", "10.2.0.0/16"}
    assert set(map(str, less.nodes[1].approved_routes)) == {"10.2.0.0/16"}


def test_what_is_not_approved_cannot_be_taken_back() -> None:
    with pytest.raises(NotFoundError, match="box-1 has no approved route"):
        admin.change_node(
            make_records(make_node(1)), "1", NodeRequest(unapprove_routes=("10.1.0.0/16",)), NOW
        )


def test_approvals_one_by_one_do_not_pass_the_limit() -> None:
    many = tuple(ip_network((n << 8, 24)) for n in range(LONGEST_LIST))
    records = make_records(make_node(1, approved_routes=many))

    with pytest.raises(SettingsError, match=f"{LONGEST_LIST + 1} routes"):
        admin.change_node(records, "1", NodeRequest(approve_routes=("10.1.0.0/16",)), NOW)


@pytest.mark.parametrize("route", ["100.64.0.0/16", "127.0.0.0/8", "10.1.0.1/16", "x"])
@pytest.mark.parametrize("field", ["approved_routes", "approve_routes"])
def test_a_wrong_route_is_refused(field: str, route: str) -> None:
    wish = convert({field: (route,)}, NodeRequest)

    with pytest.raises(RefusedError, match=route):
        admin.change_node(make_records(make_node(1)), "1", wish, NOW)


def test_a_node_expires_when_told() -> None:
    records = make_records(make_node(1, key_expiry=NOW + 9))

    assert changed(records, "1", NodeRequest(expire=True)).nodes[1].key_expiry == NOW


def test_a_tagged_node_does_not_expire_and_a_node_of_nobody_keeps_a_tag() -> None:
    records = make_records(make_node(1, key_expiry=NOW + 9), make_node(2, user_id=NOBODY))

    assert changed(records, "1", NodeRequest(tags=("tag:a",))).nodes[1].key_expiry is None
    with pytest.raises(SettingsError, match="must keep a tag"):
        admin.change_node(records, "2", NodeRequest(tags=()), NOW)


def test_an_empty_wish_changes_nothing() -> None:
    assert admin.change_node(make_records(make_node(1)), "1", NodeRequest(), NOW).edits == ()


@pytest.mark.parametrize("which", ["box-1", "BOX-1", "1", "box-1.mesh.example"])
def test_a_node_is_found_by_name_full_name_or_id(which: str) -> None:
    assert admin.delete_node(make_records(make_node(1)), which).edits == (DropNode(1),)


@pytest.mark.parametrize("which", ["", "box", "2", "²", "-1"])
def test_an_unknown_node_is_named(which: str) -> None:
    with pytest.raises(NotFoundError, match="nodes list"):
        admin.find_node(make_records(make_node(1)), which)


def test_a_label_counts_before_an_id() -> None:
    records = make_records(make_node(1, label="2"), make_node(2, label="x"))

    assert admin.find_node(records, "2").id == 1
