"""The forecast when a running rollout completes, at the rate of the last hour."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.rollouts.policy import Pacing

MIN_OPEN_SHARE = 0.001
MAX_HOURS = 10 * 365 * 24.0
"""A later end is reported as this one, since dates have a maximum too."""


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """How far a rollout has come.

    Attributes:
        devices_left: devices of the open stages that do not have the version yet.
        bytes_left: bytes that they will download.
        per_hour: devices that were offered the version in the last hour.
        slots_full: as many downloads are open as the pacing allows.
        open_share: share of the week in which windows are open.
    """

    devices_left: int
    bytes_left: int
    per_hour: float
    slots_full: bool = False
    open_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a rollout completes at its present rate.

    Attributes:
        per_hour: devices per hour.
        limited_by: what keeps it from being faster: `max_bytes_per_hour`, `max_open_downloads`, or `devices` (the rate
            at which they poll).
        done_at: when the open stages are complete; None if nothing moves.
    """

    per_hour: float
    limited_by: str
    done_at: datetime | None


def forecast(pacing: Pacing, progress: RolloutProgress, now: datetime) -> Forecast:
    """Forecast the end of the open stages, at the rate of the last hour or at what the pacing allows if that is less.

    Before the first device polls, the pacing alone gives the earliest end.
    """
    if progress.devices_left == 0:
        return Forecast(progress.per_hour, "devices", now)
    observed = progress.per_hour or math.inf
    allowed = _devices_per_hour(pacing, progress)
    limited_by = _limited_by(observed, allowed, progress)
    per_hour = min(observed, allowed)
    if not 0 < per_hour < math.inf:
        return Forecast(0.0, limited_by, None)
    # The observed rate includes the windows already; the allowed rate does not.
    open_share = progress.open_share if limited_by == "max_bytes_per_hour" else 1.0
    hours = min(progress.devices_left / per_hour / max(open_share, MIN_OPEN_SHARE), MAX_HOURS)
    return Forecast(per_hour, limited_by, now + timedelta(hours=hours))


def _limited_by(observed: float, allowed: float, progress: RolloutProgress) -> str:
    if allowed <= observed and allowed < math.inf:
        return "max_bytes_per_hour"
    return "max_open_downloads" if progress.slots_full else "devices"


def _devices_per_hour(pacing: Pacing, progress: RolloutProgress) -> float:
    """Return how many devices the limit on bytes serves per hour."""
    if pacing.max_bytes_per_hour is None or progress.bytes_left == 0:
        return math.inf
    return pacing.max_bytes_per_hour * progress.devices_left / progress.bytes_left
