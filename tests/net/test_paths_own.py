"""What a node tells others of where it is."""

from __future__ import annotations

from ipaddress import ip_address

from gatepost.model.netmap import Endpoint
from gatepost.net.paths_own import OwnAddresses
from gatepost.sessions.netcheck import Report

PORT = 41641


def make_endpoint(address: str, port: int = PORT) -> Endpoint:
    return Endpoint(ip_address(address), port)


def make_own(*addresses: str) -> OwnAddresses:
    own = OwnAddresses(lambda: map(ip_address, addresses), PORT)
    own.refresh_local()
    return own


def make_report(*seen: Endpoint) -> Report:
    return Report(seen_v4=seen, seen_v6=(), latencies={}, varies=len(seen) > 1)


def test_addresses_that_nobody_else_can_use_are_not_told() -> None:
    own = make_own("127.0.0.1", "169.254.1.1", "fe80::1", "100.64.0.7", "192.168.1.2", "::1")

    assert [e.endpoint for e in own.endpoints()] == [make_endpoint("192.168.1.2")]


def test_every_address_is_told_once_with_the_surest_kind_first() -> None:
    own = make_own("192.168.1.2")
    own.take(make_report(make_endpoint("203.0.113.1", 5000)), (), 0.0)
    own.set_mapped((make_endpoint("203.0.113.1", 5000), make_endpoint("203.0.113.1", 6000)))
    own.set_static((make_endpoint("198.51.100.9"),))

    assert [(str(e.endpoint), e.kind, e.wire_type) for e in own.endpoints()] == [
        (f"198.51.100.9:{PORT}", "static", 5),
        (f"192.168.1.2:{PORT}", "local", 1),
        ("203.0.113.1:5000", "mapped", 3),
        ("203.0.113.1:6000", "mapped", 3),
    ]
    own.set_mapped(())
    own.set_static(())
    assert [e.kind for e in own.endpoints()] == ["local", "stun"]


def test_behind_a_router_that_varies_ports_our_own_port_is_guessed() -> None:
    own = make_own("192.168.1.2")
    seen = make_endpoint("203.0.113.1", 5000), make_endpoint("203.0.113.1", 5001)
    own.take(make_report(seen[0]), (), 0.0)
    steady = own.endpoints()
    own.take(make_report(*seen), (), 1.0)

    assert [e.kind for e in steady] == ["local", "stun"]
    guessed = [e for e in own.endpoints() if e.kind == "guess"]
    assert [e.endpoint for e in guessed] == [make_endpoint("203.0.113.1")]
    assert guessed[0].wire_type == 4


def test_what_stun_saw_is_told_for_five_minutes_and_until_the_network_changes() -> None:
    own = make_own()
    own.take(make_report(make_endpoint("203.0.113.1", 5000)), (), 0.0)
    own.take(make_report(), (), 300.0)
    kept = own.endpoints()
    own.take(make_report(), (), 311.0)
    old = own.endpoints()
    own.take(make_report(make_endpoint("203.0.113.1", 5000)), (), 312.0)
    own.forget_seen()

    assert [e.kind for e in kept] == ["stun"]
    assert old == own.endpoints() == ()
