"""Boxes that joined carry traffic between LANs that know nothing of it."""

from __future__ import annotations

import os
from functools import partial

import pytest

from gatepost.model.status import Status, UpRequest
from gatepost.testing.by_hand import kernel_has_wireguard
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import ping_pairs, transfer

pytestmark = [pytest.mark.root, pytest.mark.mesh]


def test_every_host_pings_every_other_in_both_families(lab: Lab) -> None:
    silent = [pair for pair in ping_pairs(lab.sites) if not pair.works]

    assert silent == []


def test_a_host_sends_tcp_to_another_site(lab: Lab) -> None:
    one, other = lab.sites[1], lab.sites[2]
    assert transfer(one.host, other.host, str(other.host_v4), seconds=1).octets > 1_000_000
    assert transfer(one.host, other.host, str(other.host_v6), seconds=1).octets > 1_000_000


def test_the_wireguard_is_the_kernels_where_it_has_one(lab: Lab) -> None:
    expected = "kernel" if kernel_has_wireguard(lab.topology.internet) else "wireguard-go"
    devices = [box.client.status().wireguard for box in lab.boxes.values()]

    assert [device and device.backend for device in devices] == [expected] * len(lab.sites)


def test_all_processors_take_in_what_user_space_wireguard_delivers(lab: Lab) -> None:
    box = lab.boxes["b"]
    wireguard, processors = box.client.status().wireguard, os.cpu_count() or 1
    assert wireguard
    queue = f"/sys/class/net/{wireguard.device}/queues/rx-0/rps_cpus"
    steered = int(box.site.box.run("cat", queue).replace(",", ""), 16)

    spread = wireguard.backend == "wireguard-go" and processors > 1
    assert steered == ((1 << processors) - 1 if spread else 0)


def test_boxes_behind_home_routers_find_a_direct_path(lab: Lab) -> None:
    for name, other in (("b", "c"), ("c", "b"), ("a", "b")):
        far = f"box-{other}"
        lab.boxes[name].await_status(partial(is_direct, far), f"direct path to {far}")


def is_direct(far: str, status: Status) -> bool:
    return any(peer.path == "direct" for peer in status.peers if peer.name.startswith(far))


def test_a_box_pings_another_by_name(lab: Lab) -> None:
    answer = lab.boxes["b"].client.ping("box-c", 5.0)

    assert answer.error == ""
    assert answer.latency is not None
    assert answer.latency < 1


def test_a_wrong_key_is_refused_with_its_reason(lab: Lab) -> None:
    """The box that asked says so, and goes on to be what it was."""
    box = lab.boxes["c"]
    before = own_addresses(box)
    box.client.logout()
    box.client.up(UpRequest(login_server=lab.coordination.url, auth_key="gpkey-nonsense"))
    refused = box.await_status(
        lambda status: any("key" in notice.text for notice in status.notices),
        "notice about the key",
    )
    assert refused.state == "NeedsLogin"

    lab.join(["c"])
    lab.await_mesh()
    wait_for(
        lambda: True if all(pair.works for pair in ping_pairs(lab.sites, count=1)) else None,
        seconds=20,
        otherwise=lambda: str(ping_pairs(lab.sites, count=1)),
    )
    assert before != ()


def own_addresses(box: Box) -> tuple[str, ...]:
    node = box.client.status().node
    return node.addresses if node else ()
