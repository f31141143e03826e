"""How long a ping must be to probe a path for packets of a size.

     20 or 40    8     8 by relay       80              12      32
    +-----------+-----+-----------+----------------+--------+---------+---------+
    | IP header | UDP | Geneve    | disco and box, | trans- | node    | padding |
    |           |     |           | type, version  | action | key     |         |
    +-----------+-----+-----------+----------------+--------+---------+---------+

Sizes are of whole IP packets. Source: protocol document 2.2.
"""

from __future__ import annotations

from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.owned import MTU
from gatepost.sessions.paths_outputs import ByRelay, ByUdp
from gatepost.wire.box import OVERHEAD
from gatepost.wire.disco import HEADER_LENGTH
from gatepost.wire.disco_fields import TRANSACTION_LENGTH

_IP = {4: 20, 6: 40}
_UDP = 8
_GENEVE = 8
_WIREGUARD = 32  # octets: type, receiver, counter, and the tag behind the packet
_PING = HEADER_LENGTH + OVERHEAD + 2 + TRANSACTION_LENGTH + KEY_LENGTH


def whole_packet(version: int) -> int:
    """Return the octets outside of the tunnel of the longest packet inside it."""
    return _IP[version] + _UDP + _WIREGUARD + MTU


def padding_for(size: int, way: ByUdp | ByRelay) -> int:
    """Return the zeros that make a ping by `way` a packet of `size` octets, not less than 0."""
    if isinstance(way, ByRelay):
        outer = _IP[way.server.address.version] + _UDP + _GENEVE
    else:
        outer = _IP[way.endpoint.address.version] + _UDP
    return max(size - outer - _PING, 0)
