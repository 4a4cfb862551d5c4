"""Request and response bodies of rollouts and templates."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from sdk_contract.documents import Label, Name
from service.api.schemas.base import Body, Timestamp, View


class AdvanceWhenBody(Body):
    """The requirements for advancing to the next stage.

    Attributes:
        minutes: minimum duration of the stage.
        reports: minimum number of reported outcomes.
        approval: whether an operator has to promote the rollout.
        min_coverage: minimum share of attempts, 0 to 1, whose outcome is known.
    """

    minutes: float = Field(default=0, ge=0, le=60 * 24 * 365)
    reports: int = Field(default=1, ge=0, le=10**9)
    approval: bool = False
    min_coverage: float = Field(default=0, ge=0, le=1)


class StageBody(Body):
    """A stage of a rollout.

    Attributes:
        percent: percentage of the cohort that is offered the version, above 0, at most 100.
        gates: bounds on failures and metrics.
    """

    cohort: Name
    percent: float
    advance_when: AdvanceWhenBody = AdvanceWhenBody()
    gates: list[dict[str, Any]] = Field(default_factory=list, max_length=20)


class DailyWindowBody(Body):
    """A window of the day, from `start` to `end`; if it ends before it starts, it ends on the next day.

    Attributes:
        days: days on which the window opens, 0 for Monday to 6 for Sunday; absent for every day.
    """

    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    days: list[int] | None = None


class WindowsBody(Body):
    """The times at which devices are offered updates.

    Attributes:
        zone: `device` for the time zone of the device (its attribute `timezone`), or a name such as `Asia/Shanghai`.
    """

    zone: str = Field(default="device", max_length=64)
    daily: list[DailyWindowBody] = Field(min_length=1, max_length=21)


class PacingBody(Body):
    """The limits on the download rate of a rollout.

    Attributes:
        max_open_downloads: maximum number of devices that download at the same time.
        max_bytes_per_hour: maximum number of bytes that are offered in any hour.
    """

    max_open_downloads: int | None = Field(default=None, ge=1, le=10**9)
    max_bytes_per_hour: int | None = Field(default=None, ge=1, lt=2**53)


class PolicyBody(Body):
    """The policy of a rollout, which applies to all stages.

    Attributes:
        starts_at: earliest start; `start` before this time waits for it.
        windows: times at which devices are offered the version; absent for always.
        holdout_percent: percentage of the fleet that never gets the version, for comparison.
        approvals: number of people other than the author who must approve before it starts.
        activation: with `deferred`, devices download ahead and activate the version together after `activate`.
        rollback_to: label of the version that `rollback` installs, or `factory`; absent for each device's previous
            version.
    """

    starts_at: Timestamp | None = None
    windows: WindowsBody | None = None
    pacing: PacingBody | None = None
    holdout_percent: float = 0
    approvals: int = Field(default=0, ge=0, le=10)
    activation: Literal["immediate", "deferred"] = "immediate"
    rollback_to: Label | None = None


class RolloutSpec(Body):
    """The fields that rollouts and templates share.

    Attributes:
        on_breach: what happens when a gate is breached.
        priority: among rollouts that match a device, the highest priority wins.
    """

    stages: list[StageBody] = Field(default_factory=list, max_length=20)
    on_breach: Literal["halt", "rollback"] = "halt"
    priority: int = Field(default=0, ge=-1000, le=1000)
    policy: PolicyBody = PolicyBody()


class RolloutBody(RolloutSpec):
    """A rollout.

    Attributes:
        template: name of a template that provides the omitted fields; the policy is merged field by field.
    """

    name: Name
    model: Name
    version: Label
    template: Name | None = None


class TemplateBody(RolloutSpec):
    """A rollout template."""

    description: str = Field(default="", max_length=1000)


class TemplateView(View):
    """A rollout template.

    Attributes:
        body: those of `stages`, `on_breach`, `priority` and `policy` that were given.
    """

    name: str
    description: str
    body: dict[str, Any]
    updated_at: datetime


class StageView(View):
    """A stage and the outcomes of its attempts.

    Attributes:
        outcomes: outcome -> number of attempts; `bytes_sent` in bytes.
    """

    ordinal: int
    cohort: str
    percent: float
    advance_when: dict[str, Any]
    gates: list[Any]
    outcomes: dict[str, int]


class ApprovalView(View):
    """The approval of a rollout by one person."""

    actor: str
    at: datetime
    reason: str


class RolloutEventView(View):
    """An event in the history of a rollout.

    Attributes:
        sequence: number that rises with every event; webhook messages contain it.
    """

    sequence: int
    at: datetime
    kind: str
    actor: str
    reason: str
    detail: dict[str, Any]


class RolloutView(View):
    """A rollout and its state.

    Attributes:
        stage: index of the last open stage.
        stage_since: when that stage opened.
        reason: reason of the last action.
        waiting_for: what prevents the start, as text; empty if nothing does.
        rollback_patches: progress of each rollback patch that the start waits for, as text.
        activated_at: with `activation: deferred`, when `activate` was called.
        paused_classes: device classes for which the rollout is paused, because their failure rate is too high.
        rollback_outcomes: outcome -> number of devices that the rollback has brought back.
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
