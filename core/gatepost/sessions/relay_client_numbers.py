"""The numbers of the relay client, in seconds where nothing else is said.

Source: protocol document 4; those that it does not have are ours.
"""

from __future__ import annotations

CAPABLE = 121  # capability version from which a node can be a client or a relay
MOST_RELAYS = 8  # relays asked for one peer
ASK_AGAIN = 3.0  # seconds after which an allocation is asked for once more
ASK_FOR = 10.0  # seconds after which nobody waits for the allocation
BIND_FOR = 30.0  # seconds for a binding at most, whatever lifetime the relay tells
BIND_AGAIN = (0.5, 1.0, 2.0, 4.0)  # seconds between repeated requests for a challenge
ANSWER_AGAIN = (1.0, 2.0)  # seconds between repeated answers, while nothing comes through
HEARD_LATELY = 6.5  # seconds: a place that was heard of then is not bound again
STEADY_FROM, STEADY_TO = 30.0, 3600.0  # seconds between which a relay's steady lifetime is believed
MOST_ADDRESSES = 8  # of one relay that we write to
MOST_PLACES = 1024  # bindings that this node keeps
PLACES_PER_PEER = 8
CALL_WINDOW, CALLS_HEEDED = 30.0, 16  # seconds, and allocations from one peer in them
LARGEST_VNI = 0xFFFFFF
NANOSECONDS = 1e9
