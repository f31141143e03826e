"""Every row of the table of protocol document 1.7."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any  # the fields of a key, of any type

import pytest
from tests.coordination.makers import (
    ALICE,
    BOB,
    NOW,
    SECRET,
    TERMS,
    machine,
    make_key,
    make_node,
    make_records,
    make_request,
    node_key,
)

from gatepost.coordination.ledger import Decision
from gatepost.coordination.policy.inventory import members_of
from gatepost.coordination.records import (
    NOBODY,
    DropNode,
    NodeRecord,
    PutKey,
    PutNode,
    Records,
)
from gatepost.coordination.registration import (
    Expired,
    Joined,
    LoginNeeded,
    Outcome,
    Terms,
    approve,
    decide,
)
from gatepost.errors import RefusedError
from gatepost.policy.read import read
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.register import RegisterRequest

MACHINE = machine(1)
LONG_PAST = datetime.fromtimestamp(123, UTC)  # what clients send to log out


def joined(decision: Decision[Outcome]) -> NodeRecord:
    assert isinstance(decision.answer, Joined)
    return decision.answer.node


def ask(records: Records, request: RegisterRequest) -> Decision[Outcome]:
    return decide(records, request, MACHINE, TERMS)


def known(**changes: object) -> NodeRecord:
    return make_node(1, **({"machine": MACHINE, "key_expiry": NOW + 500} | changes))


# --- logout -------------------------------------------------------------------
def test_a_logout_ends_the_key_now_and_not_in_1970() -> None:
    decision = ask(make_records(known()), make_request(expiry=LONG_PAST))

    assert decision.answer == Expired()
    assert decision.edits == (PutNode(known(key_expiry=NOW)),)


def test_a_logout_with_an_auth_key_is_a_logout() -> None:
    records = make_records(known(), make_key())

    decision = ask(records, make_request(expiry=LONG_PAST, auth=SECRET))

    assert decision.answer == Expired()
    assert not any(isinstance(e, PutKey) for e in decision.edits)


def test_a_logout_of_an_ephemeral_node_deletes_it() -> None:
    decision = ask(make_records(known(ephemeral=True)), make_request(expiry=LONG_PAST))

    assert decision.edits == (DropNode(1),)


def test_a_logout_of_an_unknown_node_changes_nothing() -> None:
    assert ask(make_records(), make_request(expiry=LONG_PAST)) == Decision(Expired())


def test_the_zero_time_of_go_is_no_logout() -> None:
    request = make_request(expiry=datetime(1, 1, 1, tzinfo=UTC))

    assert joined(ask(make_records(known()), request)) == known()


# --- a known node key ------------------------------------------------------------
def test_a_restart_returns_the_node_as_it_is() -> None:
    assert ask(make_records(known()), make_request()) == Decision(Joined(known()))


def test_a_restart_with_a_spent_one_time_key_uses_nothing_up() -> None:
    records = make_records(known(), make_key(used=1))

    assert ask(records, make_request(auth=SECRET)) == Decision(Joined(known()))


def test_a_restart_with_an_invalid_auth_key_succeeds() -> None:
    assert joined(ask(make_records(known()), make_request(auth="nonsense"))) == known()


def test_the_node_key_of_another_machine_is_refused() -> None:
    with pytest.raises(RefusedError, match="belongs to another machine"):
        decide(make_records(known()), make_request(), machine(2), TERMS)


def test_an_expired_node_key_asks_for_a_new_one() -> None:
    records = make_records(known(key_expiry=NOW), make_key())

    assert ask(records, make_request(auth=SECRET)) == Decision(Expired())


def test_a_node_may_shorten_its_own_time() -> None:
    sooner = datetime.fromtimestamp(NOW + 10, UTC)

    assert joined(ask(make_records(known()), make_request(expiry=sooner))).key_expiry == NOW + 10


def test_a_node_may_not_prolong_its_own_time() -> None:
    later = datetime.fromtimestamp(NOW + 501, UTC)

    with pytest.raises(RefusedError, match="more time"):
        ask(make_records(known()), make_request(expiry=later))


# --- auth keys --------------------------------------------------------------------
def test_an_auth_key_makes_a_node_of_its_user() -> None:
    decision = ask(make_records(make_key()), make_request(auth=SECRET))

    node = joined(decision)
    assert (node.user_id, node.label, str(node.address)) == (ALICE.id, "box", "100.64.0.1")
    assert node.key_expiry == NOW + 1000
    assert PutKey(make_key(used=1)) in decision.edits


def test_what_a_new_node_reports_is_kept_with_it() -> None:
    (put,) = (
        e
        for e in ask(make_records(make_key()), make_request(auth=SECRET)).edits
        if isinstance(e, PutNode)
    )

    assert put.report is not None
    assert (put.report.hostinfo.os, put.report.version) == ("linux", 131)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"used": 1}, "one use"),
        ({"revoked": True, "reusable": True}, "revoked"),
        ({"expires": NOW}, "expired"),
        ({"used": 3, "reusable": True, "expires": NOW - 1}, "expired"),
    ],
)
def test_an_auth_key_that_cannot_be_used_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason):
        ask(make_records(make_key(**changes)), make_request(auth=SECRET))


def test_a_wrong_auth_key_is_refused_and_not_repeated() -> None:
    with pytest.raises(RefusedError, match="not valid") as caught:
        ask(make_records(make_key()), make_request(auth="gpauth-guess"))

    assert "guess" not in str(caught.value)


def test_a_reusable_key_lets_many_in() -> None:
    records = make_records(make_key(reusable=True, used=7))

    assert PutKey(make_key(reusable=True, used=8)) in ask(records, make_request(auth=SECRET)).edits


def test_a_key_without_expiry_can_be_used() -> None:
    joined(ask(make_records(make_key(expires=None)), make_request(auth=SECRET)))


@pytest.mark.parametrize(("by_key", "by_client"), [(True, False), (False, True)])
def test_a_node_is_ephemeral_if_key_or_client_says_so(by_key: bool, by_client: bool) -> None:
    records = make_records(make_key(ephemeral=by_key))

    assert joined(ask(records, make_request(auth=SECRET, ephemeral=by_client))).ephemeral


def test_a_tagged_key_makes_a_tagged_node_that_never_expires() -> None:
    records = make_records(make_key(tags=("tag:web",), user_id=NOBODY))

    node = joined(ask(records, make_request(auth=SECRET)))

    assert (node.tags, node.key_expiry, node.user_id) == (("tag:web",), None, NOBODY)


def test_requested_tags_must_be_the_keys() -> None:
    records = make_records(make_key(tags=("tag:web",)))
    request = make_request(auth=SECRET, hostinfo=Hostinfo(request_tags=("tag:db", "tag:web")))

    with pytest.raises(RefusedError, match=r"requested tags \[tag:db\] are invalid or not permit"):
        ask(records, request)


def test_requested_tags_that_the_key_has_are_fine() -> None:
    records = make_records(make_key(tags=("tag:web", "tag:db")))
    request = make_request(auth=SECRET, hostinfo=Hostinfo(request_tags=("tag:web",)))

    assert joined(ask(records, request)).tags == ("tag:web", "tag:db")


POLICY = read("""{
    "tagOwners": {"tag:web": ["alice@"], "tag:db": ["bob@"]},
    "nodeAttrs": [{"target": ["tag:web"], "ipPool": ["100.70.0.8/31"]}],
}""")
RULED = replace(TERMS, policy=POLICY, members=members_of({1: ALICE, 2: BOB}))


def test_a_user_gives_the_tags_that_the_policy_says_are_theirs() -> None:
    request = make_request(hostinfo=Hostinfo(request_tags=("tag:web",)))

    assert isinstance(decide(make_records(), request, MACHINE, RULED).answer, LoginNeeded)
    node = approve(make_records(), request, MACHINE, ALICE.id, RULED).answer
    assert (node.tags, node.user_id, node.key_expiry) == (("tag:web",), ALICE.id, None)
    with pytest.raises(RefusedError, match="tag:web"):
        approve(make_records(), request, MACHINE, BOB.id, RULED)


def test_the_key_of_a_user_also_gives_the_tags_of_the_user() -> None:
    request = make_request(auth=SECRET, hostinfo=Hostinfo(request_tags=("tag:web",)))
    other = make_request(auth=SECRET, hostinfo=Hostinfo(request_tags=("tag:db",)))

    assert joined(decide(make_records(make_key()), request, MACHINE, RULED)).tags == ("tag:web",)
    with pytest.raises(RefusedError, match="tag:db"):
        decide(make_records(make_key()), other, MACHINE, RULED)


def test_a_new_node_gets_its_address_from_the_pool_of_the_policy() -> None:
    request = make_request(hostinfo=Hostinfo(request_tags=("tag:web",)))
    pool = [IPv4Address("100.70.0.8"), IPv4Address("100.70.0.9")]
    one_taken = make_records(make_node(5, address=pool[0]))
    all_taken = make_records(*(make_node(i, address=a) for i, a in enumerate(pool, start=5)))

    assert approve(make_records(), request, MACHINE, ALICE.id, RULED).answer.address == pool[0]
    assert approve(one_taken, request, MACHINE, ALICE.id, RULED).answer.address == pool[1]
    with pytest.raises(RefusedError, match="ipPool"):
        approve(all_taken, request, MACHINE, ALICE.id, RULED)


def test_a_person_cannot_request_tags() -> None:
    with pytest.raises(RefusedError, match="not permitted"):
        ask(make_records(), make_request(hostinfo=Hostinfo(request_tags=("tag:web",))))


# --- renewal and other users -----------------------------------------------------------
def test_a_renewed_key_keeps_id_addresses_and_name() -> None:
    old = known(label="chosen", renamed=True, key_expiry=NOW - 5)
    request = make_request(9, auth=SECRET, old_node_key=old.key)

    node = joined(ask(make_records(old, make_key()), request))

    assert node == replace(old, key=node_key(9), key_expiry=NOW + 1000)


def test_a_renewed_key_needs_no_old_key_to_find_its_node() -> None:
    node = joined(ask(make_records(known(), make_key()), make_request(9, auth=SECRET)))

    assert (node.id, node.address) == (1, known().address)


def test_another_user_gets_another_node_and_the_old_one_stays() -> None:
    records = make_records(known(label="box"), make_key(user_id=BOB.id))
    decision = ask(records, make_request(9, auth=SECRET, old_node_key=node_key(1)))

    after = records.after(decision.edits)

    assert sorted(after.nodes) == [1, 2]
    assert after.nodes[1] == known(label="box")
    assert (after.nodes[2].user_id, after.nodes[2].label) == (BOB.id, "box-1")
    assert after.nodes[2].address != known().address


def test_a_client_may_ask_for_less_time_than_the_server_grants() -> None:
    sooner = datetime.fromtimestamp(NOW + 10, UTC)
    records = make_records(make_key())

    assert joined(ask(records, make_request(auth=SECRET, expiry=sooner))).key_expiry == NOW + 10


def test_keys_never_expire_if_the_settings_say_so() -> None:
    terms = Terms(now=NOW, key_expiry=None)
    decision = decide(make_records(make_key()), make_request(auth=SECRET), MACHINE, terms)

    assert joined(decision).key_expiry is None


# --- a person ------------------------------------------------------------------------------
def test_without_a_key_somebody_must_approve() -> None:
    assert ask(make_records(), make_request()) == Decision(LoginNeeded())


def test_an_approved_login_becomes_a_node_of_that_user() -> None:
    decision = approve(make_records(), make_request(), MACHINE, BOB.id, TERMS)

    assert decision.answer.user_id == BOB.id
    assert decision.answer.key == node_key(1)


def test_an_approved_renewal_keeps_the_node() -> None:
    decision = approve(make_records(known()), make_request(9), MACHINE, ALICE.id, TERMS)

    assert (decision.answer.id, decision.answer.address) == (1, known().address)


def test_a_machine_that_is_in_cannot_be_approved_again() -> None:
    with pytest.raises(RefusedError, match="in already"):
        approve(make_records(known()), make_request(1), MACHINE, ALICE.id, TERMS)


# --- what is no request ------------------------------------------------------------------------
def test_a_client_that_is_too_old_is_told_so() -> None:
    with pytest.raises(RefusedError, match=r"too old .*112.*update"):
        ask(make_records(), make_request(version=112))


def test_a_request_without_a_node_key_is_refused() -> None:
    with pytest.raises(RefusedError, match="no node key"):
        ask(make_records(), make_request(0))


def test_a_clock_in_1970_does_not_take_a_logout_for_a_wish() -> None:
    terms = Terms(now=1_735_689_600.0, key_expiry=1000.0)  # the floor of the server's clock
    decision = decide(make_records(known()), make_request(expiry=LONG_PAST), MACHINE, terms)

    assert decision.answer == Expired()
