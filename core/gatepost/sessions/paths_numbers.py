"""The numbers of path discovery, in seconds where nothing else is said.

Source: protocol document 2.3; those that it does not have are ours.
"""

from __future__ import annotations

HEARTBEAT = 3.0  # seconds between pings of the address in use
HEARTBEAT_RETRY = 0.25  # seconds to the next ping when the last one got no answer
DOUBT = 1.0  # seconds, and three round trips, without an answer until DERP carries copies
SESSION_ACTIVE = 45.0  # seconds after the last traffic
TRUST = 6.5  # seconds after the last pong
COUNTED_TRUST = 3.0  # seconds after WireGuard was seen receiving directly
GIVEN_UP = 5.0  # seconds in which a way that was given up may answer, before copies by it end
COUNTED_WITHIN = 2.0  # seconds between two readings that still say when it received
PING_INTERVAL = 5.0  # seconds between two pings of an address that did not answer
FIRST_PINGS = (0.25, 0.5, 1.0, 2.0)  # seconds: the peer may hear of us a moment after we of it
PING_TIMEOUT = 5.0  # seconds
UPGRADE = 60.0  # seconds between two looks for something better than what works
GOOD_ENOUGH = 0.005  # seconds of latency; no look for better below it
CALL_WINDOW = 5.0  # seconds in which at most CALLS_HEEDED calls make us ping
CALLS_HEEDED = 6
PING_BACKS = 20  # pings to addresses that a peer pinged from, in CALL_WINDOW
PONGS = 200  # answers to one peer's pings in CALL_WINDOW
SEEK_RELAY = 30.0  # seconds between two looks for relays to one peer
SEEK_RELAY_AGAIN = 60.0  # seconds between them while a relay path works
RELAY_AFTER = 1  # rounds of pings that a direct path gets before relays are asked
RELAY_PINGS = 10  # pings of a new relay path until the peer has bound its end too
RELAY_PING_INTERVALS = (0.25, 0.5, 1.0, 2.0, 3.0)  # seconds between them; the last one repeats
RELAYS = 8  # relay paths kept per peer
WIRE_SIZES = (1280, 1360, 1400, 1500)  # octets of a whole packet that the path's MTU is probed with
SIZING = 1.0  # seconds, and three round trips, for the answers to packets of several sizes
SIZINGS = 4  # times in a row that sizes are tried without any answer
SIZE_VALID = 150.0  # seconds for which an answered size counts
AWAY = 5.0  # seconds without a ping of the peer after which its daemon may be away
GREETED_AFTER = 0.5  # seconds that a peer has to begin by itself: who begins at once disturbs it
GREETED = 15.0  # seconds for which one that talks to us, and not through the tunnel, is greeted
WATCHED = 15.0  # seconds for which a peer that pings us has its counters read
CANDIDATES = 50  # addresses kept per peer
REMEMBERED_PINGS = 64
OWN_FRESH = 27.0  # seconds for which our addresses from STUN are told without asking again
OWN_DOUBTED = 2.0  # seconds for the same when a path has broken
POLL_OVERDUE = 1.0  # seconds between readings of the device while a heartbeat is unanswered
POLL_WATCHED = 5.0  # seconds between them while any peer has traffic
POLL_IDLE = 60.0  # seconds between them otherwise, only to set right what roamed unseen
