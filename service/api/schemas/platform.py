"""Request and response bodies of jobs, the audit log, tokens and trust bundles."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from sdk_contract.documents import Name
from service.api.schemas.base import Body, Timestamp, View


class JobView(View):
    """A background job.

    Attributes:
        key: unique key of the work; there is at most one job per key.
        error: code and detail of the last failure.
    """

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
    """An entry of the audit log.

    Attributes:
        hash: SHA-256 of the entry and `previous_hash`.
    """

    id: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class ApiTokenBody(Body):
    """An API token.

    Attributes:
        scope: the role of the token.
        person: owner of the token; absent if its name is the owner. All tokens of one person count as one approver.
    """

    name: Name
    scope: Literal["viewer", "publisher", "release-manager", "admin"]
    person: Name | None = None
    expires_at: Timestamp | None = None


class EnrollmentTokenBody(Body):
    """An enrollment token for devices.

    Attributes:
        max_uses: number of devices that may enroll with it; absent for any number.
        models: the models that these devices are served; absent for all.
    """

    name: Name
    max_uses: int | None = Field(default=None, ge=1, lt=2**53)
    expires_at: Timestamp | None = None
    models: list[Name] | None = Field(default=None, min_length=1, max_length=64)


class CiTokenBody(Body):
    """The identity token that the CI platform issued for the job."""

    token: str = Field(default="", max_length=4096, description="Without a token the response is 401.")


class CiTokenView(View):
    """A temporary API token for uploads, and its lifetime in seconds; only this response contains it."""

    token: str
    expires_in: int


class SecretView(View):
    """A new token; only this response contains it."""

    name: str
    token: str


class TrustBody(Body):
    """A signed trust bundle: the first one, or the successor of the newest one."""

    envelope: dict[str, Any]


class TrustView(View):
    """The version of the newest trust bundle."""

    version: int
