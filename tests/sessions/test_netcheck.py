"""How the internet sees us, and which region is home."""

from __future__ import annotations

import pytest
from tests.sessions.paths_world import make_endpoint, make_random

from gatepost.errors import WireError
from gatepost.model.netmap import Endpoint
from gatepost.sessions.home import choose_home
from gatepost.sessions.netcheck import HAIRPIN_LAST, LONGEST, TRIES, Check, Report, Server
from gatepost.wire.stun import read_request, write_answer, write_request

ONE = Server(1, make_endpoint("203.0.113.1", 3478))
TWO = Server(2, make_endpoint("203.0.113.2", 3478))
SIX = Server(2, make_endpoint("2001:db8::2", 3478))
SEEN, OTHER = make_endpoint("198.51.100.9", 5000), make_endpoint("198.51.100.9", 5001)
SEEN_6 = make_endpoint("2001:db8::9", 41641)
NOW = 50.0


def make_check(*servers: Server) -> tuple[Check, dict[Endpoint, bytes]]:
    """Return a check and the transactions of its first requests by server."""
    check = Check(servers, make_random(), NOW)
    return check, {e: read_request(r) for e, r in check.due(NOW)}


def test_every_server_is_asked_and_its_answer_timed() -> None:
    check, asked = make_check(ONE, TWO, SIX)
    check.on_packet(write_answer(asked[ONE.endpoint], SEEN), NOW + 0.03)
    check.on_packet(write_answer(asked[TWO.endpoint], SEEN), NOW + 0.05)
    assert not check.is_done(NOW + 0.06)
    check.on_packet(write_answer(asked[SIX.endpoint], SEEN_6), NOW + 0.04)
    report = check.report()

    assert check.is_done(NOW + 0.06)
    assert report.latencies == pytest.approx({1: 0.03, 2: 0.04})
    assert report.seen == (SEEN, SEEN_6)
    assert report.varies is False
    assert report.udp


def test_a_mapping_that_varies_needs_two_witnesses() -> None:
    check, asked = make_check(ONE, TWO)
    check.on_packet(write_answer(asked[ONE.endpoint], SEEN), NOW + 0.01)
    assert check.report().varies is None
    check.on_packet(write_answer(asked[TWO.endpoint], OTHER), NOW + 0.01)

    assert check.report().varies is True


def test_a_silent_server_is_asked_again_and_given_up() -> None:
    check, _ = make_check(ONE)
    times = [NOW + wait for wait in TRIES[1:]]

    assert [len(check.due(at)) for at in times] == [1] * len(times)
    assert check.due(NOW + 2) == []
    assert not check.is_done(NOW + LONGEST - 0.01)
    assert check.is_done(NOW + LONGEST)
    assert not check.report().udp


def test_the_others_get_a_grace_after_the_first_answer() -> None:
    check, asked = make_check(ONE, TWO)
    check.on_packet(write_answer(asked[ONE.endpoint], SEEN), NOW + 0.1)

    assert not check.is_done(NOW + 0.29, grace=0.2)
    assert check.next_timer(grace=0.2) <= NOW + 0.3
    assert check.is_done(NOW + 0.31, grace=0.2)


def test_answers_to_nobody_and_other_packets_change_nothing() -> None:
    check, asked = make_check(ONE)
    answer = write_answer(asked[ONE.endpoint], SEEN)

    assert not check.on_packet(write_answer(b"x" * 12, OTHER), NOW)
    assert check.on_packet(answer, NOW + 0.01)
    assert not check.on_packet(answer, NOW + 0.02)
    with pytest.raises(WireError):
        check.on_packet(answer[:-1], NOW)
    assert check.report().seen == (SEEN,)


def test_the_servers_of_a_region_are_asked_in_turn() -> None:
    second = Server(1, make_endpoint("203.0.113.11", 3478))
    check, asked = make_check(ONE, second, TWO)
    check.on_packet(write_answer(asked[TWO.endpoint], SEEN), NOW + 0.01)

    assert set(asked) == {ONE.endpoint, TWO.endpoint}
    assert [e for e, _ in check.due(NOW + TRIES[1])] == [second.endpoint]
    assert [e for e, _ in check.due(NOW + TRIES[2])] == [ONE.endpoint]


def test_of_a_single_region_all_servers_are_witnesses() -> None:
    second = Server(1, make_endpoint("203.0.113.1", 3479))
    check, asked = make_check(ONE, second)
    check.on_packet(write_answer(asked[ONE.endpoint], SEEN), NOW + 0.01)
    assert not check.is_done(NOW + 0.02)
    check.on_packet(write_answer(asked[second.endpoint], OTHER), NOW + 0.02)

    assert check.is_done(NOW + 0.02)
    assert check.report().varies is True


def test_each_version_of_ip_has_its_latencies() -> None:
    check, asked = make_check(TWO, SIX)
    check.on_packet(write_answer(asked[TWO.endpoint], SEEN), NOW + 0.05)
    check.on_packet(write_answer(asked[SIX.endpoint], SEEN_6), NOW + 0.04)
    report = check.report()

    assert report.latencies_v4 == pytest.approx({2: 0.05})
    assert report.latencies_v6 == pytest.approx({2: 0.04})
    assert report.latencies == report.distances == pytest.approx({2: 0.04})


def test_without_stun_the_home_is_chosen_by_https() -> None:
    assert Report(https={1: 0.2}).distances == {1: 0.2}
    assert not Report(https={1: 0.2}).udp


# --- hairpin ---------------------------------------------------------------------------------


def make_hairpin() -> tuple[Check, bytes]:
    """Return a check that has just heard its own address, and its question to itself."""
    check = Check([ONE], make_random(), NOW, hairpin=True)
    ((_, request),) = check.due(NOW)
    assert check.report().hairpin is None
    check.on_packet(write_answer(read_request(request), SEEN), NOW + 0.1)
    assert not check.is_done(NOW + 0.1)
    assert check.next_timer() <= NOW + 0.1
    ((to, question),) = check.due(NOW + 0.1)
    assert to == SEEN
    return check, question


def test_a_question_to_ourselves_that_comes_back_is_a_hairpin() -> None:
    check, question = make_hairpin()

    assert check.on_packet(question, NOW + 0.2)
    assert check.is_done(NOW + 0.2)
    assert check.report().hairpin is True


def test_a_question_to_ourselves_that_is_lost_is_none() -> None:
    check, _ = make_hairpin()

    assert not check.is_done(NOW + 0.1 + HAIRPIN_LAST / 2)
    assert check.is_done(NOW + 0.1 + HAIRPIN_LAST)
    assert check.next_timer() == pytest.approx(NOW + 0.1 + HAIRPIN_LAST)
    assert check.report().hairpin is False


def test_a_strangers_question_is_no_hairpin() -> None:
    check, _ = make_hairpin()

    assert not check.on_packet(write_request(b"stranger" + bytes(4)), NOW + 0.2)
    assert check.report().hairpin is False


def test_nobody_looks_for_a_hairpin_over_ipv6() -> None:
    check = Check([SIX], make_random(), NOW, hairpin=True)
    ((_, request),) = check.due(NOW)
    check.on_packet(write_answer(read_request(request), SEEN_6), NOW + 0.1)

    assert check.is_done(NOW + 0.1)
    assert check.report().hairpin is None


def test_a_check_without_servers_is_done_at_once() -> None:
    check, asked = make_check()

    assert asked == {}
    assert check.is_done(NOW)


@pytest.mark.parametrize(
    ("home", "latencies", "chosen"),
    [
        (0, {}, 1),
        (2, {}, 2),
        (9, {}, 1),
        (0, {1: 0.05, 2: 0.02}, 2),
        (1, {1: 0.05, 2: 0.02}, 2),
        (1, {1: 0.050, 2: 0.041}, 1),  # 9 ms nearer
        (1, {1: 0.200, 2: 0.150}, 1),  # not under two thirds
        (1, {2: 0.150}, 2),
        (1, {9: 0.001}, 1),
    ],
)
def test_home_moves_only_for_a_clear_gain(
    home: int, latencies: dict[int, float], chosen: int
) -> None:
    assert choose_home(home, (2, 1), latencies) == chosen


def test_without_regions_there_is_no_home() -> None:
    assert choose_home(3, (), {3: 0.1}) == 0
