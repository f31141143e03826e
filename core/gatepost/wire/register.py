"""Joining: `/key` and `/machine/register`. Source: protocol document 1.1 and 1.7."""

from __future__ import annotations

from datetime import datetime

from msgspec import field

from gatepost.model.keys import MachinePublic, NodePublic
from gatepost.wire.go_json import Message, drop_zero_times
from gatepost.wire.hostinfo import Hostinfo


class ServerKeys(Message, frozen=True, kw_only=True):
    """The answer of `GET /key?v=<capability version>`."""

    public_key: MachinePublic = field(name="publicKey")
    legacy_public_key: MachinePublic = field(
        name="legacyPublicKey", default=MachinePublic(bytes(32))
    )


class RegisterAuth(Message, frozen=True, kw_only=True):
    auth_key: str = ""


class RegisterRequest(Message, frozen=True, kw_only=True):
    """Ask to become, stay or stop being a node.

    `expiry` in the past is a logout. `followup` is the `auth_url` of an
    earlier answer: hold the request until that login is decided.
    """

    version: int = 0
    node_key: NodePublic = NodePublic(bytes(32))
    old_node_key: NodePublic = NodePublic(bytes(32))
    auth: RegisterAuth | None = None
    expiry: datetime | None = None
    followup: str = ""
    hostinfo: Hostinfo | None = None
    ephemeral: bool = False
    tailnet: str = ""

    def __post_init__(self) -> None:
        # Official clients always write `Expiry`; its zero must not look like a logout.
        drop_zero_times(self, "expiry")


class User(Message, frozen=True, kw_only=True):
    id: int = 0
    display_name: str = ""
    profile_pic_url: str = ""
    created: datetime | None = None

    def __post_init__(self) -> None:
        drop_zero_times(self, "created")


class Login(Message, frozen=True, kw_only=True):
    id: int = 0
    provider: str = ""
    login_name: str = ""
    display_name: str = ""
    profile_pic_url: str = ""


class RegisterResponse(Message, frozen=True, kw_only=True):
    """Status 200 even when `error` is set; the client shows that text as it is."""

    user: User = User()
    login: Login = Login()
    node_key_expired: bool = False
    machine_authorized: bool = False
    auth_url: str = ""
    error: str = ""
