"""Keep the kernel from gluing packets for one port together before our rules have seen them.

With `ethtool -K ... rx-udp-gro-forwarding on`, which some routers have, the
kernel joins packets of one sender and port to a long one as soon as they
arrive (GRO), and cuts it up again at the end. nftables and BPF programs see
the first packet only, so path discovery behind WireGuard's data goes where
the data goes, and a peer relay's packets all go to the first one's peer.

The kernel leaves packets alone when they are for a bound socket of this
machine that did not ask for long ones. But it looks for that socket only while
somebody on the machine has asked (`udp_encap_needed_key` in net/ipv4/udp.c):

    WireGuard in the kernel  its own socket switches the key on: safe by itself
    wireguard-go 2022        its socket does not, so one of ours has to
    wireguard-go from 2023   asks for long packets on its own port: then the
                             kernel does join them, and no socket of ours helps.
                             Some of discovery's packets are lost while much
                             data comes; a path is found later, not never

Measured: data path document, F1.
"""

from __future__ import annotations

import socket

_UDP_GRO = 104  # include/uapi/linux/udp.h


def keep_packets_apart() -> socket.socket:
    """Return a socket that keeps the key switched on until it is closed; it receives nothing.

    Raise `OSError` for a kernel before 5.0, which joins nothing.
    """
    key = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        key.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    except OSError:
        key.close()
        raise
    return key
