"""What the relay client asks its owner to do, and the words both use for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.sessions.paths_outputs import RelayPath, Send
from gatepost.wire.disco_relay import AllocateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayNode:
    """A node that is a relay, or a peer that can use one. `home` is its DERP region, not 0."""

    key: NodePublic
    disco: DiscoPublic
    home: int


class Outcome(enum.Enum):
    """How far we came with one relay for one peer."""

    ASKED = "asked for a place; no answer yet"
    SILENT = "did not answer our request: it is away, or does not let us use it"
    REFUSED = "gave us a place that belongs to somebody else, or one too many"
    BINDING = "gave us a place; its UDP port has not answered yet"
    UNREACHABLE = "gave us a place, but none of its UDP addresses answered"
    BOUND = "our end is bound; nothing of the peer came through yet"
    ONE_SIDED = "our end was bound, but nothing of the peer ever came through"
    WORKS = "the peer is heard through it"
    EXPIRED = "worked until nothing was sent through it for too long"


@dataclass(frozen=True, slots=True)
class Found:
    """Our end of a place is bound; said again for a new binding of it."""

    peer: NodePublic
    path: RelayPath


@dataclass(frozen=True, slots=True)
class Lost:
    """A path that was found is none any more."""

    peer: NodePublic
    path: RelayPath


@dataclass(frozen=True, slots=True)
class AskOurselves:
    """Ask the relay on this very node; its answer comes to `on_message` like any other's."""

    request: AllocateRequest


RelayOutput = Send | Found | Lost | AskOurselves
