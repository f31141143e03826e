"""What a box says of the networks around it when it cannot see them."""

from __future__ import annotations

import secrets

import pytest
from tests.daemon.test_wishes import make_wishes

from gatepost.daemon.carriers import Carriers, Pair
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.look_around import LookAround
from gatepost.daemon.probes import Surroundings
from gatepost.errors import UnreachableError
from gatepost.linux.interfaces import read_attachment
from gatepost.linux.netlink import Netlink
from gatepost.model.keys import NodePrivate
from gatepost.net.portmap import PortMapping


def no_pair(_key: NodePrivate) -> Pair:
    raise AssertionError("nothing here carries packets")


async def test_a_kernel_that_cannot_be_read_is_told_to_who_asks() -> None:
    with Netlink() as netlink:
        surroundings = Surroundings(lambda: read_attachment(netlink))
        look = LookAround(
            netlink=netlink,
            surroundings=surroundings,
            carriers=Carriers(no_pair),
            port_mapping=PortMapping(
                port=1,
                secret=bytes(32),
                gateways=surroundings.gateways,
                on_change=lambda: None,
                random_bytes=secrets.token_bytes,
            ),
            inputs=Inputs(),
            wishes=make_wishes(),
        )
        netlink.route.close()

        with pytest.raises(UnreachableError, match=r"the kernel cannot be read: .*Bad file"):
            await look()
