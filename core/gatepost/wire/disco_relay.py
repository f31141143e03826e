"""The path discovery messages of peer relays: types 4 to 9. Source: protocol document 2.2 and 4.

They travel inside the same box as the others (`wire.disco`), with the same two
bytes of type and version in front. Binding, 4 to 6, between a client and the
relay's UDP port, in Geneve with the control bit:

     0         4              8                 40               72
    +---------+--------------+-----------------+----------------+
    | VNI u32 | generation   | disco key of    | challenge 32   |
    |         | u32          | the other client |               |
    +---------+--------------+-----------------+----------------+
    4 BindRelay       client to relay; the challenge is zeros
    5 BindChallenge   relay to client
    6 BindAnswer      client to relay; the challenge as it came

By DERP only:

    7 CallMeMaybeVia    an allocation
    8 AllocateRequest   disco key 32 of each client, generation u32
    9 AllocateResponse  generation u32, then an allocation

An allocation:

     0               32                  96        104       108             116
    +---------------+-------------------+---------+---------+---------------+
    | disco key of  | disco key 32 of   | Lamport | VNI u32 | bind lifetime |
    | the relay     | each client       | u64     |         | u64 ns        |
    +---------------+-------------------+---------+---------+---------------+
     116                   124
    +---------------------+----------------------------------------------------+
    | steady lifetime u64 | one or more (address 16, port 2) of the relay      |
    | ns                  |                                                    |
    +---------------------+----------------------------------------------------+

All numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated
from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import Endpoint
from gatepost.wire.disco_fields import (
    ENDPOINT_LENGTH,
    exactly,
    need,
    read_endpoints,
    write_endpoints,
)

CHALLENGE_LENGTH = 32
BIND_RELAY, BIND_CHALLENGE, BIND_ANSWER = 4, 5, 6
CALL_ME_MAYBE_VIA, ALLOCATE_REQUEST, ALLOCATE_RESPONSE = 7, 8, 9

_BINDING = struct.Struct("!II32s32s")
_REQUEST = struct.Struct("!32s32sI")
_ALLOCATION = struct.Struct("!32s32s32sQIQQ")
_GENERATION = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the three messages of a binding share.

    `vni` must be that of the Geneve header in front. `generation` is not 0,
    and another one for every handshake. `remote` is the other client.
    """

    vni: int
    generation: int
    remote: DiscoPublic
    challenge: bytes = bytes(CHALLENGE_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindRelay(Binding):
    """Ask a relay to send what is for this end of `vni` to where this packet came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindChallenge(Binding):
    """Ask the client to prove that it receives at that address, by 32 bytes to be sent back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindAnswer(Binding):
    """Send the challenge back; with it the binding is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A pair's place at a relay.

    `lamport` rises with every allocation of that relay: the higher one is the
    newer one. Lifetimes are nanoseconds: `bind_lifetime` until both clients
    are bound, `steady_lifetime` after their last packet. `addresses` are those
    of the relay's UDP port, at least one.
    """

    relay: DiscoPublic
    clients: tuple[DiscoPublic, DiscoPublic]
    lamport: int
    vni: int
    bind_lifetime: int
    steady_lifetime: int
    addresses: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class CallMeMaybeVia:
    """Ask the peer to bind its end of an allocation that we asked a relay for."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """Ask a relay for a place for a pair of clients, we one of them."""

    clients: tuple[DiscoPublic, DiscoPublic]
    generation: int


@dataclass(frozen=True, slots=True)
class AllocateResponse:
    """Tell the place; `generation` is that of the request."""

    generation: int
    allocation: Allocation


RelayMessage = (
    BindRelay | BindChallenge | BindAnswer | CallMeMaybeVia | AllocateRequest | AllocateResponse
)
_BINDINGS: dict[int, type[BindRelay | BindChallenge | BindAnswer]] = {
    BIND_RELAY: BindRelay,
    BIND_CHALLENGE: BindChallenge,
    BIND_ANSWER: BindAnswer,
}


def read_relay_message(kind: int, payload: bytes) -> RelayMessage | None:
    """Read what follows type and version; None is not one of these types.

    Raise `Truncated` when it is too short, `Malformed` when an allocation's
    addresses are not whole or all without a port.
    """
    if binding := _BINDINGS.get(kind):
        need(payload, _BINDING.size)
        vni, generation, remote, challenge = _BINDING.unpack_from(payload)
        return binding(
            vni=vni, generation=generation, remote=DiscoPublic(remote), challenge=challenge
        )
    match kind:
        case 7:
            return CallMeMaybeVia(_read_allocation(payload))
        case 8:
            need(payload, _REQUEST.size)
            one, other, generation = _REQUEST.unpack_from(payload)
            return AllocateRequest((DiscoPublic(one), DiscoPublic(other)), generation)
        case 9:
            need(payload, _GENERATION.size)
            (generation,) = _GENERATION.unpack_from(payload)
            return AllocateResponse(generation, _read_allocation(payload[_GENERATION.size :]))
        case _:
            return None


def write_relay_message(message: RelayMessage) -> tuple[int, bytes]:
    """Return the type and what follows type and version."""
    match message:
        case BindRelay():
            return BIND_RELAY, _write_binding(message)
        case BindChallenge():
            return BIND_CHALLENGE, _write_binding(message)
        case BindAnswer():
            return BIND_ANSWER, _write_binding(message)
        case CallMeMaybeVia(allocation):
            return CALL_ME_MAYBE_VIA, _write_allocation(allocation)
        case AllocateRequest((one, other), generation):
            return ALLOCATE_REQUEST, _REQUEST.pack(one.raw, other.raw, generation)
        case AllocateResponse(generation, allocation):
            return ALLOCATE_RESPONSE, _GENERATION.pack(generation) + _write_allocation(allocation)


def _write_binding(message: Binding) -> bytes:
    challenge = exactly(message.challenge, CHALLENGE_LENGTH, "challenge")
    return _BINDING.pack(message.vni, message.generation, message.remote.raw, challenge)


def _read_allocation(payload: bytes) -> Allocation:
    need(payload, _ALLOCATION.size + ENDPOINT_LENGTH)
    if (len(payload) - _ALLOCATION.size) % ENDPOINT_LENGTH:
        raise Truncated(f"{len(payload)} bytes of an allocation end within an address")
    relay, one, other, lamport, vni, bind, steady = _ALLOCATION.unpack_from(payload)
    addresses = read_endpoints(payload[_ALLOCATION.size :])
    if not addresses:
        raise Malformed("an allocation without an address of the relay")
    return Allocation(
        relay=DiscoPublic(relay),
        clients=(DiscoPublic(one), DiscoPublic(other)),
        lamport=lamport,
        vni=vni,
        bind_lifetime=bind,
        steady_lifetime=steady,
        addresses=addresses,
    )


def _write_allocation(allocation: Allocation) -> bytes:
    if not allocation.addresses:
        raise Malformed("an allocation without an address of the relay")
    one, other = allocation.clients
    head = _ALLOCATION.pack(
        allocation.relay.raw,
        one.raw,
        other.raw,
        allocation.lamport,
        allocation.vni,
        allocation.bind_lifetime,
        allocation.steady_lifetime,
    )
    return head + write_endpoints(allocation.addresses)
