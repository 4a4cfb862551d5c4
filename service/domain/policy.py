"""How a rollout behaves besides its stages: when, how fast, for whom not, and how devices switch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from service.domain.windows import Windows, parse_windows
from service.errors import InvalidPolicy

MAX_HOLDBACK = 50.0
"""More than half of a fleet is no control group."""

Activation = Literal["immediate", "together"]


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast a rollout may go; None for no bound.

    Attributes:
        open_downloads: attempts that may be open at the same time.
        bytes_per_hour: bytes that may be offered in any hour.
    """

    open_downloads: int | None = None
    bytes_per_hour: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether there is anything to count."""
        return self.open_downloads is not None or self.bytes_per_hour is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """How a rollout behaves.

    Attributes:
        starts_at: a start before this moment waits for it.
        windows: when offers are made; None for always.
        holdback_percent: share of the buckets, from the top, that this rollout never serves, to compare with.
        approvals: people other than the author who must agree before it starts.
        activation: `together` downloads ahead and switches all devices at once.
        back_to: label that a rollback brings devices to, or `factory`; None for where each came from.
    """

    starts_at: datetime | None = None
    windows: Windows | None = None
    pacing: Pacing = field(default_factory=Pacing)
    holdback_percent: float = 0
    approvals: int = 0
    activation: Activation = "immediate"
    back_to: str | None = None


def require_future(policy: Policy, now: datetime) -> None:
    """Refuse a start that is over before the rollout is written down.

    Raises:
        InvalidPolicy: it is.
    """
    if policy.starts_at is not None and policy.starts_at <= now:
        raise InvalidPolicy(
            f"{policy.starts_at:%Y-%m-%d %H:%M} UTC is over; leave starts_at out to start at once",
            field="policy.starts_at",
        )


ALWAYS = Policy()
"""At once, to everyone, as fast as they come."""


def parse_policy(raw: Mapping[str, Any]) -> Policy:
    """A policy from JSON whose shape has been checked.

    Raises:
        InvalidPolicy: values that make no sense; `field` says which.
    """
    holdback = raw.get("holdback_percent", 0)
    if not 0 <= holdback <= MAX_HOLDBACK:
        raise InvalidPolicy(
            f"{holdback} is not a percentage from 0 to {MAX_HOLDBACK:g}", field="policy.holdback_percent"
        )
    starts_at = raw.get("starts_at")
    pacing, windows = raw.get("pacing") or {}, raw.get("windows")
    return Policy(
        starts_at=datetime.fromisoformat(starts_at) if starts_at else None,
        windows=parse_windows(windows) if windows else None,
        pacing=Pacing(pacing.get("open_downloads"), pacing.get("bytes_per_hour")),
        holdback_percent=holdback,
        approvals=raw.get("approvals", 0),
        activation=raw.get("activation", "immediate"),
        back_to=raw.get("back_to"),
    )
