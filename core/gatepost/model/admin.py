"""The documents of the coordination server's administration API.

Times are seconds since 1970 (UTC) or None for never. Ids are the database's.
"""

from __future__ import annotations

from gatepost.model.status import Document


class UserDocument(Document, frozen=True, kw_only=True):
    id: int
    name: str  # login name: "alice" or "alice@example.org"
    display_name: str = ""
    created: float | None = None
    nodes: int = 0
    role: str = "member"  # owner, admin, it-admin, network-admin, billing-admin, auditor


class UserRequest(Document, frozen=True, kw_only=True):
    """Make a user, or change the fields that are not None."""

    name: str | None = None
    display_name: str | None = None
    role: str | None = None  # None for a new user: the first is the owner, others are members


class KeyDocument(Document, frozen=True, kw_only=True):
    """A pre-auth key. `secret` is there once, in the answer that made it."""

    id: int
    user: str  # login name; "" for a key that only gives tags
    secret: str = ""
    prefix: str = ""  # the first characters of the secret, to tell keys apart
    reusable: bool = False
    ephemeral: bool = False
    tags: tuple[str, ...] = ()
    created: float | None = None
    expires: float | None = None
    used: int = 0  # how many registrations
    revoked: bool = False


class KeyRequest(Document, frozen=True, kw_only=True):
    """Ask for a pre-auth key; `lifetime` is in seconds."""

    user: str = ""
    reusable: bool = False
    ephemeral: bool = False
    tags: tuple[str, ...] = ()
    lifetime: float | None = 3600.0


class RouteChoiceDocument(Document, frozen=True, kw_only=True):
    """Which routes of others a node is shown: all (`only` None) or a list, without `refused`."""

    only: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()


class NodeDocument(Document, frozen=True, kw_only=True):
    id: int
    name: str  # DNS label
    fqdn: str
    user: str  # login name
    tags: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    node_key: str = ""
    machine_key: str = ""
    operating_system: str = ""
    client_version: str = ""
    online: bool = False
    ephemeral: bool = False
    created: float | None = None
    last_seen: float | None = None
    key_expiry: float | None = None
    expired: bool = False
    announced_routes: tuple[str, ...] = ()
    approved_routes: tuple[str, ...] = ()
    primary_routes: tuple[str, ...] = ()  # that lead to it now, and not to another node
    preferred_routes: tuple[str, ...] = ()  # that it carries while it can
    accepts: RouteChoiceDocument = RouteChoiceDocument()
    reachable: bool = True  # False: its rivals for a network answer, it does not


class NodeRequest(Document, frozen=True, kw_only=True):
    """Change a node; None leaves a field as it is. `expire` ends its key now.

    `approved_routes` is the whole list. The other two add to it and take from it in one
    step, in this order, so that two administrators at once lose nothing.
    """

    name: str | None = None
    expire: bool = False
    approved_routes: tuple[str, ...] | None = None
    approve_routes: tuple[str, ...] = ()
    unapprove_routes: tuple[str, ...] = ()  # only approved ones
    prefer_routes: tuple[str, ...] | None = None  # the whole list
    accepts: RouteChoiceDocument | None = None
    tags: tuple[str, ...] | None = None


class RegistrationDocument(Document, frozen=True, kw_only=True):
    """A login that waits for somebody to approve it (`AuthURL`)."""

    id: str
    hostname: str
    operating_system: str = ""
    machine_key: str = ""
    created: float | None = None


class SshCheckDocument(Document, frozen=True, kw_only=True):
    """A sign-in over SSH that waits for somebody to confirm it; nodes by their names."""

    id: str
    source: str
    destination: str
    login: str
    created: float


class ApproveRequest(Document, frozen=True, kw_only=True):
    """Let a waiting registration in, as a node of this user."""

    user: str


class ServerDocument(Document, frozen=True, kw_only=True):
    """How the server is doing."""

    version: str
    server_url: str
    domain: str
    public_key: str
    users: int
    nodes: int
    connected: int


class RelayMeshDocument(Document, frozen=True, kw_only=True):
    """Another DERP server of the region. `clients` is how many it told us of."""

    name: str  # host:port
    connected: bool = False
    clients: int = 0
    problem: str = ""


class RelayDocument(Document, frozen=True, kw_only=True):
    """A DERP relay. Counts are since its start, but for those of this moment, which come first."""

    version: str
    public_key: str
    clients: int = 0  # connections
    homes: int = 0  # of clients that call this relay their home
    duplicates: int = 0  # keys with several connections
    watchers: int = 0  # other servers that are told who comes and goes
    distant: int = 0  # keys on other servers
    waiting_octets: int = 0
    joined: int = 0
    received_packets: int = 0
    received_octets: int = 0
    sent_packets: int = 0
    sent_octets: int = 0
    forwarded_packets: int = 0  # to other servers
    slowed: int = 0  # times a client had to wait because of its rate
    dropped: dict[str, int] = {}  # packets by reason  # noqa: RUF012  # msgspec copies it
    refused: dict[str, int] = {}  # connections by reason  # noqa: RUF012  # msgspec copies it
    mesh: tuple[RelayMeshDocument, ...] = ()


class RelayClientDocument(Document, frozen=True, kw_only=True):
    """One connection of a relay; `connected` is seconds since it was let in."""

    key: str
    address: str
    connected: float
    home: bool = False
    mesh: bool = False  # another server
    received_packets: int = 0
    received_octets: int = 0
    sent_packets: int = 0
    sent_octets: int = 0
    dropped_packets: int = 0
    waiting_octets: int = 0
    slowed: int = 0
