"""Bodies of the admin API about rollouts and templates."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from sdk_contract.documents import Label, Name
from service.api.schemas.base import Body, Moment, View


class AdvanceWhenBody(Body):
    """What must have happened before the next stage.

    Attributes:
        min_coverage: share of the stage's attempts, 0 to 1, whose outcome must be known.
    """

    minutes: float = Field(default=0, ge=0, le=60 * 24 * 365)
    reports: int = Field(default=1, ge=0, le=10**9)
    approval: bool = False
    min_coverage: float = Field(default=0, ge=0, le=1)


class StageBody(Body):
    """A step: a share of a cohort."""

    cohort: Name
    percent: float
    advance_when: AdvanceWhenBody = AdvanceWhenBody()
    gates: list[dict[str, Any]] = Field(default_factory=list, max_length=20)


class DailyWindowBody(Body):
    """A time of the day, from `start` to `end`; one that ends before it starts goes over midnight.

    Attributes:
        days: 0 for Monday to 6 for Sunday, the day on which the window opens; absent for every day.
    """

    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    days: list[int] | None = None


class WindowsBody(Body):
    """When devices may be offered something.

    Attributes:
        zone: `device` for the device's own time (its attribute `timezone`), or a name such as `Asia/Shanghai`.
    """

    zone: str = Field(default="device", max_length=64)
    daily: list[DailyWindowBody] = Field(min_length=1, max_length=21)


class PacingBody(Body):
    """How fast bytes leave.

    Attributes:
        max_open_downloads: how many devices may be on their way at the same time.
        max_bytes_per_hour: how many bytes may be offered in any hour.
    """

    max_open_downloads: int | None = Field(default=None, ge=1, le=10**9)
    max_bytes_per_hour: int | None = Field(default=None, ge=1, lt=2**53)


class PolicyBody(Body):
    """How a rollout behaves, whatever its stages.

    Attributes:
        starts_at: `start` before this moment waits for it.
        windows: times of the day; absent for always.
        holdout_percent: share of the fleet that never gets it, to compare with.
        approvals: how many people other than the author must agree before it starts.
        activation: `deferred` downloads ahead and switches all devices at once on `activate`.
        rollback_to: label that `rollback` brings devices to, or `factory`; absent for the version each came from.
    """

    starts_at: Moment | None = None
    windows: WindowsBody | None = None
    pacing: PacingBody | None = None
    holdout_percent: float = 0
    approvals: int = Field(default=0, ge=0, le=10)
    activation: Literal["immediate", "deferred"] = "immediate"
    rollback_to: Label | None = None


class CourseBody(Body):
    """How a version goes to the fleet, whichever it is: what templates and rollouts have in common."""

    stages: list[StageBody] = Field(default_factory=list, max_length=20)
    on_breach: Literal["halt", "rollback"] = "halt"
    priority: int = Field(default=0, ge=-1000, le=1000)
    policy: PolicyBody = PolicyBody()


class RolloutBody(CourseBody):
    """A rollout, before it starts.

    Attributes:
        template: what is not said here is as there; of the policy, field by field.
    """

    name: Name
    model: Name
    version: Label
    template: Name | None = None


class TemplateBody(CourseBody):
    """A rollout to copy from."""

    description: str = Field(default="", max_length=1000)


class TemplateView(View):
    """A rollout to copy from.

    Attributes:
        body: `stages`, `on_breach`, `priority` and `policy`, as far as they were said.
    """

    name: str
    description: str
    body: dict[str, Any]
    updated_at: datetime


class StageView(View):
    """A step and how it went."""

    ordinal: int
    cohort: str
    percent: float
    advance_when: dict[str, Any]
    gates: list[Any]
    outcomes: dict[str, int]


class ApprovalView(View):
    """One person's word for a rollout."""

    actor: str
    at: datetime
    reason: str


class RolloutEventView(View):
    """Something that happened to a rollout.

    Attributes:
        sequence: rises with every event; webhooks tell it too.
    """

    sequence: int
    at: datetime
    kind: str
    actor: str
    reason: str
    detail: dict[str, Any]


class RolloutView(View):
    """A rollout and where it stands.

    Attributes:
        waiting_for: what keeps it from starting, in words; empty where nothing does.
        rollback_patches: for each patch back that it waits for, how far its job is, or since when no worker has taken it.
        activated_at: with `activation: deferred`, when devices were told to switch.
        paused_classes: classes of device that get nothing new, since they alone fail.
        rollback_outcomes: outcomes of the devices that a rollback brings back.
    """

    id: UUID
    name: str
    model: str
    version: str
    state: str
    stage: int
    stage_since: datetime | None
    on_breach: str
    priority: int
    policy: dict[str, Any]
    reason: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    waiting_for: str
    rollback_patches: list[str]
    activated_at: datetime | None
    approvals: list[ApprovalView]
    paused_classes: list[str]
    rollback_outcomes: dict[str, int]
    stages: list[StageView]
    history: list[RolloutEventView]
