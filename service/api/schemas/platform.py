"""Bodies of the admin API on jobs, the audit log, credentials and trust."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from sdk_contract.documents import Name
from service.api.schemas.base import Body, Moment, View


class JobView(View):
    """A piece of background work."""

    id: UUID
    kind: str
    key: str
    queue: str
    state: str
    attempts: int
    progress: dict[str, Any]
    error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class AuditView(View):
    """An entry of the audit log."""

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class ApiTokenBody(Body):
    """A token for a person or a machine.

    Attributes:
        person: whose it is, where that is not its name: all tokens of one person are one voice in approvals.
    """

    name: Name
    scope: Literal["viewer", "publisher", "release-manager", "admin"]
    person: Name | None = None
    expires_at: Moment | None = None


class EnrollmentTokenBody(Body):
    """A token that lets devices in."""

    name: Name
    max_uses: int | None = Field(default=None, ge=1, lt=2**53)
    expires_at: Moment | None = None
    models: list[Name] | None = Field(default=None, min_length=1, max_length=64)


class ExchangeBody(Body):
    """The identity token that CI's platform gave to the job."""

    token: str = Field(default="", max_length=4096, description="Without one the answer is 401.")


class ExchangeView(View):
    """An API token for uploads, and its life in seconds; it is shown this once."""

    token: str
    expires_in: int


class SecretView(View):
    """A new secret; it is shown this once."""

    name: str
    token: str


class TrustBody(Body):
    """A signed trust bundle: the first one, or the one that follows the newest."""

    envelope: dict[str, Any]


class TrustView(View):
    """The newest trust bundle's version."""

    version: int
