"""A gateway that need not be trusted. Arguments: its address and what it does wrong.

nothing    is an honest gateway
garbage    answers every question with random bytes
elsewhere  maps by NAT-PMP, but calls the loopback address its public one
flood      says a thousand times a second that it has just begun
"""

from __future__ import annotations

import os
import socket
import sys
import time
from ipaddress import IPv4Address

from gatepost.errors import WireError
from gatepost.wire import natpmp


def serve(address: str, fault: str) -> None:
    """Answer until killed."""
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind((address, natpmp.PORT))
        service.settimeout(0.001)
        while True:
            epoch = int(time.monotonic() - began)
            if fault == "flood":
                news = natpmp.AddressAnswer(epoch=0, address=IPv4Address("45.0.0.1"))
                service.sendto(natpmp.write_answer(news), ("192.168.1.2", 5350))
                service.sendto(natpmp.write_answer(news), ("224.0.0.1", 5350))
            try:
                packet, source = service.recvfrom(2000)
            except TimeoutError:
                continue
            for answer in answers(packet, fault, epoch):
                service.sendto(answer, source)


def answers(packet: bytes, fault: str, epoch: int) -> list[bytes]:
    if fault == "garbage":
        return [os.urandom(n) for n in (0, 1, 7, 12, 16, 60, 1400)]
    try:
        request = natpmp.read_request(packet)
    except WireError:
        return []
    outside = IPv4Address("127.0.0.1" if fault == "elsewhere" else "45.0.0.99")
    match request:
        case natpmp.AddressRequest():
            return [natpmp.write_answer(natpmp.AddressAnswer(epoch=epoch, address=outside))]
        case natpmp.MapRequest():
            granted = natpmp.MapAnswer(
                epoch=epoch,
                internal=request.internal,
                external=request.external,
                lifetime=request.lifetime,
            )
            return [natpmp.write_answer(granted)]


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
