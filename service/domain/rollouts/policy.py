"""The policy of a rollout: when and how fast it rolls out, and how devices activate and roll back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from service.domain.rollouts.windows import Windows, parse_windows
from service.errors import InvalidPolicy

MAX_HOLDOUT_PERCENT = 50.0
"""A holdout of more than half of the fleet is a mistake."""

Activation = Literal["immediate", "deferred"]


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast a rollout may go; None for no limit.

    Attributes:
        max_open_downloads: attempts that may be downloading at the same time.
        max_bytes_per_hour: bytes that may be offered in any hour.
    """

    max_open_downloads: int | None = None
    max_bytes_per_hour: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_open_downloads is not None or self.max_bytes_per_hour is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a rollout.

    Attributes:
        starts_at: a start before this time waits for it.
        windows: when offers are made; None for always.
        pacing: how fast offers are made.
        holdout_percent: share of the buckets, from the top, that the rollout never serves, to compare with.
        approvals: number of people other than the author who must approve the start.
        activation: with `deferred`, devices stage the version and all activate it when they are told to.
        rollback_to: label that a rollback brings devices to, or `factory`; None for where each came from.
    """

    starts_at: datetime | None = None
    windows: Windows | None = None
    pacing: Pacing = field(default_factory=Pacing)
    holdout_percent: float = 0
    approvals: int = 0
    activation: Activation = "immediate"
    rollback_to: str | None = None


DEFAULT_POLICY = Policy()
"""Starts at once, for every device, without a limit."""


def require_future_start(policy: Policy, now: datetime) -> None:
    """Refuse a start time that has passed when the rollout is created.

    Raises:
        InvalidPolicy: `starts_at` is not in the future.
    """
    if policy.starts_at is not None and policy.starts_at <= now:
        raise InvalidPolicy(
            f"{policy.starts_at:%Y-%m-%d %H:%M} UTC has passed; leave starts_at out to start at once",
            field="policy.starts_at",
        )


def parse_policy(raw: Mapping[str, Any]) -> Policy:
    """Parse the JSON of a policy, whose structure was checked before.

    Raises:
        InvalidPolicy: a value is invalid; `field` is its path.
    """
    holdout = raw.get("holdout_percent", 0)
    if not 0 <= holdout <= MAX_HOLDOUT_PERCENT:
        raise InvalidPolicy(
            f"{holdout} is not a percentage from 0 to {MAX_HOLDOUT_PERCENT:g}",
            field="policy.holdout_percent",
        )
    starts_at = raw.get("starts_at")
    pacing, windows = raw.get("pacing") or {}, raw.get("windows")
    return Policy(
        starts_at=datetime.fromisoformat(starts_at) if starts_at else None,
        windows=parse_windows(windows) if windows else None,
        pacing=Pacing(pacing.get("max_open_downloads"), pacing.get("max_bytes_per_hour")),
        holdout_percent=holdout,
        approvals=raw.get("approvals", 0),
        activation=raw.get("activation", "immediate"),
        rollback_to=raw.get("rollback_to"),
    )
