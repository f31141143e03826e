"""Port mapping in simulated time: each protocol, good days and bad gateways."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from tests.sessions.portmap_world import (
    MAPPED,
    NONCE,
    OUTSIDE,
    PORT,
    PROTOCOLS,
    FakeGateway,
    World,
    make_world,
)

from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap import CHECK, RETRY_FIRST, RETRY_LONGEST, SETTLE
from gatepost.sessions.portmap_values import (
    LIFETIME,
    Protocol,
    flaw_of,
    has_restarted,
)
from gatepost.wire import natpmp, pcp
from gatepost.wire.upnp import GATEWAY_1

each_protocol = pytest.mark.parametrize("word", list(PROTOCOLS))


@each_protocol
def test_the_port_is_mapped_by_the_protocol_that_the_gateway_speaks(word: str) -> None:
    world = make_world(word)

    assert world.session.mapping is not None
    assert world.session.mapping.protocol is PROTOCOLS[word]
    assert world.external == MAPPED
    assert world.gateway.mapped == {PORT: (PORT, LIFETIME)}
    assert world.changes == 1


@each_protocol
def test_what_was_seen_is_told(word: str) -> None:
    seen = make_world(word).session.seen

    assert (seen.nat_pmp, seen.pcp, seen.upnp) == tuple(word == w for w in PROTOCOLS)


def test_of_all_protocols_the_one_of_the_official_client_comes_first() -> None:
    world = make_world("natpmp", "pcp", "upnp")

    assert world.gateway.asked == ["natpmp"]


def test_where_upnp_is_switched_off_nobody_searches_and_nobody_is_believed() -> None:
    world = World(gateway=FakeGateway(speaks=frozenset({"upnp"})), upnp=False)
    answer = f"HTTP/1.1 200 OK\r\nST: {GATEWAY_1}\r\nLOCATION: http://192.168.1.1/\r\n\r\n"
    world.hear(answer.encode())
    world.run(60.0)

    assert not [p for p in world.sent if p.startswith(b"M-SEARCH")]
    assert world.gateway.asked == []
    assert world.external is None


def test_a_refusal_lets_the_next_protocol_be_asked() -> None:
    world = make_world("natpmp", "pcp", "upnp", result=2)

    assert world.session.mapping is not None
    assert world.session.mapping.protocol is Protocol.UPNP
    assert set(world.session.seen.refusals) == {Protocol.NAT_PMP, Protocol.PCP}
    assert "switched off" in world.session.seen.refusals[Protocol.PCP]


def test_no_gateway_is_asked_seldom_and_then_more_seldom() -> None:
    world = make_world()
    world.run(RETRY_FIRST - 5)
    few = len(world.sent)
    world.run(24 * 3600)
    looks = 24 * 3600 / RETRY_LONGEST

    assert few == 15
    assert world.external is None
    assert looks * 0.8 < len(world.sent) / 15 < looks * 1.2


def test_a_gateway_that_comes_later_is_found() -> None:
    world = make_world()
    world.gateway.speaks = frozenset({"pcp"})
    world.run(RETRY_FIRST * 4)

    assert world.external == MAPPED


def test_a_gateway_that_begins_while_we_rest_is_asked_soon() -> None:
    world = make_world()
    world.run(3600.0)
    world.gateway.speaks = frozenset({"natpmp"})
    world.announce(natpmp.write_answer(natpmp.AddressAnswer(epoch=0, address=OUTSIDE)))
    world.run(SETTLE + 1)

    assert world.external == MAPPED


@each_protocol
def test_a_mapping_is_renewed_at_half_of_its_lifetime_and_for_days(word: str) -> None:
    world = make_world(word)
    assert world.session.mapping is not None
    made = world.session.mapping.made
    world.run(LIFETIME / 2 - 10)
    assert world.session.mapping.made == made
    world.run(20.0)
    assert world.session.mapping.made == pytest.approx(made + LIFETIME / 2, abs=2)
    world.run(3 * 24 * 3600)

    assert world.external == MAPPED
    assert world.changes == 1


@each_protocol
def test_a_gateway_that_forgets_is_noticed_and_asked_for_the_same_port(word: str) -> None:
    world = make_world(word, taken={PORT})
    mapped = world.external
    assert mapped is not None
    world.run(600.0)
    world.gateway.restart(world.now)
    world.run(CHECK + SETTLE)

    assert mapped.port in world.gateway.mapped
    assert world.external == mapped
    assert world.changes == 1


@pytest.mark.parametrize("by", ["natpmp", "pcp"])
@each_protocol
def test_an_announced_restart_is_answered_at_once(word: str, by: str) -> None:
    world = make_world(word)
    world.run(SETTLE)
    world.gateway.restart(world.now)
    world.announce(
        natpmp.write_answer(natpmp.AddressAnswer(epoch=0, address=OUTSIDE))
        if by == "natpmp"
        else pcp.write_answer(pcp.Announced(0))
    )
    world.run(2.0)

    assert PORT in world.gateway.mapped
    assert world.changes == 1


def test_a_late_second_answer_is_no_announcement() -> None:
    world = make_world("natpmp")
    world.run(CHECK)
    for _ in range(10):
        epoch = world.gateway.seconds(world.now)
        world.hear(natpmp.write_answer(natpmp.AddressAnswer(epoch=epoch, address=OUTSIDE)))
        world.run(CHECK / 5)

    assert world.gateway.asked == ["natpmp"]


def test_a_gateway_that_restarts_at_another_http_port_is_found_again() -> None:
    world = make_world("upnp")
    world.run(600.0)
    world.gateway.restart(world.now)
    world.gateway.http_port = 49152
    world.run(CHECK + SETTLE)

    assert PORT in world.gateway.mapped
    assert world.changes == 1


@each_protocol
def test_another_address_of_the_gateway_is_told(word: str) -> None:
    world = make_world(word)
    world.run(600.0)
    world.gateway.outside = IPv4Address("198.18.7.7")
    world.gateway.restart(world.now)
    world.run(CHECK + SETTLE)

    assert world.external == Endpoint(IPv4Address("198.18.7.7"), PORT)
    assert world.changes == 2


@each_protocol
def test_a_port_that_another_has_is_replaced(word: str) -> None:
    world = make_world(word, taken={PORT})

    assert world.external is not None
    assert world.external.port != PORT
    assert world.gateway.mapped[world.external.port][0] == PORT


@each_protocol
def test_a_gateway_that_falls_silent_keeps_its_word_to_the_end(word: str) -> None:
    world = make_world(word)
    world.gateway.is_down = True
    world.run(LIFETIME - 10)
    assert world.external == MAPPED
    world.run(60.0)

    assert world.external is None
    assert world.changes == 2


@each_protocol
def test_releasing_gives_the_port_back(word: str) -> None:
    world = make_world(word)
    outputs = world.session.release(world.now)
    world.do(outputs)

    assert len(outputs) == 1
    assert world.gateway.mapped == {}


def test_a_port_that_is_released_while_it_is_renewed_is_given_back() -> None:
    world = make_world("upnp")
    world.slow = "AddPortMapping"
    while not world.waiting:
        world.run(1.0)
    world.do(world.session.release(world.now))

    assert world.gateway.mapped == {}


def test_what_comes_after_the_release_is_nothing() -> None:
    world = make_world("natpmp")
    world.session.release(world.now)
    world.hear(natpmp.write_answer(natpmp.AddressAnswer(epoch=0, address=OUTSIDE)))
    world.announce(pcp.write_answer(pcp.Announced(0)))
    world.session.on_reply(1, None, world.now)
    world.session.look(world.now)
    world.run(24 * 3600)

    assert world.external is None
    assert world.session.take() == []


def test_releasing_nothing_sends_nothing() -> None:
    assert make_world().session.release(5000.0) == []


@each_protocol
def test_a_lost_packet_is_sent_again(word: str) -> None:
    gateway = FakeGateway(speaks=frozenset({word}))
    lost: set[bytes] = set()

    def lose_first(packet: bytes) -> bool:
        kind = packet[:2]
        if kind in lost:
            return False
        lost.add(kind)
        return True

    world = World(gateway=gateway, loss=lose_first)
    world.run(3.0)

    assert world.external == MAPPED


def test_a_look_while_the_port_is_mapped_leaves_the_mapping() -> None:
    world = make_world("natpmp")
    world.gateway.speaks = frozenset({"natpmp", "pcp"})
    world.session.look(world.now)
    world.run(2.0)

    assert world.looks == 2
    assert world.session.seen.pcp
    assert world.external == MAPPED
    assert world.changes == 1


def test_a_look_ends_a_rest() -> None:
    world = make_world()
    world.gateway.speaks = frozenset({"upnp"})
    world.session.look(world.now)
    world.run(2.0)

    assert world.external == MAPPED


@pytest.mark.parametrize(
    ("epoch", "later", "elapsed", "restarted"),
    [
        (100, 160, 60, False),
        (100, 153, 60, False),  # an eighth slower
        (100, 149, 60, True),
        (100, 0, 60, True),
        (0, 0, 1, False),
        (0, 0, 2.2, False),  # two seconds late
        (0, 0, 2.4, True),
        (100, 1000, 60, False),  # a faster clock
    ],
)
def test_a_restart_is_told_from_a_slow_clock(
    epoch: int, later: int, elapsed: float, restarted: bool
) -> None:
    assert has_restarted(epoch, 50.0, later, 50.0 + elapsed) is restarted


def test_a_usable_address_has_no_flaw() -> None:
    assert flaw_of(OUTSIDE, PORT) == ""
    assert flaw_of(OUTSIDE, 0) != ""


def test_the_nonce_is_that_of_the_caller() -> None:
    world = make_world("pcp")
    request = pcp.read_request(next(p for p in world.sent if p[:2] == b"\x02\x01"))

    assert isinstance(request, pcp.Map)
    assert request.nonce == NONCE
