"""An estimate of how long a planned rollout takes: devices arrive as they poll, bytes leave as pacing allows.

Gates are assumed to pass and people to approve at once, so the estimate covers the fleet and the limits only; a rollout
with problems takes longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.domain.rollouts.policy import Pacing

MOST_DEVICES = 0.95
"""Share of the devices after which the rest is assumed to be switched off."""
HORIZON_H = 2 * 365 * 24.0
MAX_STEPS = 5_000
DAY_H = 24.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class StageLoad:
    """What one stage has to deliver.

    Attributes:
        devices: devices that it reaches and no earlier stage does.
        bytes: bytes that they download in total.
        minutes: minutes that must pass before the next stage opens.
        reports: reports that must come before the next stage opens.
    """

    devices: int
    bytes: int
    minutes: float = 0
    reports: int = 1


@dataclass(frozen=True, slots=True)
class ArrivalPattern:
    """How devices arrive.

    Attributes:
        poll_h: hours between two polls of a device.
        open_share: share of the time that lies inside the windows.
        attempt_h: hours from an offer to its report.
    """

    poll_h: float
    open_share: float = 1.0
    attempt_h: float = 0.5

    @property
    def arrival_h(self) -> float:
        """Hours until every device has polled inside a window: with windows a day at least, for all time zones."""
        return self.poll_h if self.open_share >= 1 else max(DAY_H, self.poll_h / max(self.open_share, 0.01))


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """When things happen, in hours after the start; None for never.

    Attributes:
        stage_opens_h: when each stage opens.
        most_devices_h: when 95 % of the devices of all stages were offered the version.
        stuck_stage: index of the first stage with too few devices for its required reports.
    """

    stage_opens_h: tuple[float | None, ...]
    most_devices_h: float | None
    stuck_stage: int | None


@dataclass(slots=True)
class _OpenStage:
    """An open stage, counted in devices."""

    load: StageLoad
    opened_h: float
    waiting: float = 0
    arrived: float = 0
    served: float = 0
    reports_reached_h: float | None = None

    def arrive(self, share: float) -> None:
        new = min(self.load.devices - self.arrived, self.load.devices * share)
        self.arrived += new
        self.waiting += new

    def serve(self, devices: float, now_h: float) -> None:
        self.waiting -= devices
        self.served += devices
        if self.reports_reached_h is None and self.served >= self.load.reports - _ROUNDING:
            self.reports_reached_h = now_h

    def may_advance(self, now_h: float, attempt_h: float) -> bool:
        minutes_passed = now_h >= self.opened_h + self.load.minutes / 60
        reported_h = self.reports_reached_h
        return minutes_passed and reported_h is not None and now_h >= reported_h + attempt_h

    def is_drained(self) -> bool:
        return self.waiting <= _ROUNDING and self.arrived >= self.load.devices


def estimate_duration(
    loads: Sequence[StageLoad], arrivals: ArrivalPattern, pacing: Pacing
) -> DurationEstimate:
    """Simulate the flow of devices until 95 % of them were offered the version.

    Args:
        loads: the stages, in order.
        arrivals: how devices arrive.
        pacing: how fast they may be served.
    """
    stuck_stage = next((index for index, load in enumerate(loads) if load.devices < load.reports), None)
    goal = MOST_DEVICES * sum(load.devices for load in loads)
    opens_h: list[float | None] = [None] * len(loads)
    if not goal:
        return DurationEstimate(tuple(opens_h), None, stuck_stage)
    rate = _devices_per_hour(loads, arrivals, pacing)
    step_h = _step_h(loads, arrivals, rate)
    stages: list[_OpenStage] = []
    now_h = served = 0.0
    while now_h <= HORIZON_H:
        if len(stages) < len(loads) and (not stages or stages[-1].may_advance(now_h, arrivals.attempt_h)):
            opens_h[len(stages)] = now_h
            stages.append(_OpenStage(loads[len(stages)], now_h))
        now_h += step_h
        served += _serve(stages, now_h, step_h / arrivals.arrival_h, rate * step_h)
        if served >= goal - _ROUNDING:
            return DurationEstimate(tuple(opens_h), now_h, stuck_stage)
        if _is_at_rest(stages, len(loads)):
            break
    return DurationEstimate(tuple(opens_h), None, stuck_stage)


def _serve(stages: Sequence[_OpenStage], now_h: float, arriving_share: float, capacity: float) -> float:
    """Serve the devices that have arrived, up to the capacity, earlier stages first; return how many."""
    served = 0.0
    for stage in stages:
        stage.arrive(arriving_share)
        devices = min(stage.waiting, capacity - served)
        stage.serve(devices, now_h)
        served += devices
    return served


def _is_at_rest(stages: Sequence[_OpenStage], all_stages: int) -> bool:
    """Whether no device is left to serve and no further stage can open."""
    if not all(stage.is_drained() for stage in stages):
        return False
    return stages[-1].reports_reached_h is None or len(stages) == all_stages


def _devices_per_hour(loads: Sequence[StageLoad], arrivals: ArrivalPattern, pacing: Pacing) -> float:
    """Return how many devices can be served per hour, averaged over open and closed windows."""
    devices, size = sum(load.devices for load in loads), sum(load.bytes for load in loads)
    rate = float("inf")
    if pacing.max_bytes_per_hour is not None and size:
        rate = pacing.max_bytes_per_hour * devices / size
    if pacing.max_open_downloads is not None:
        rate = min(rate, pacing.max_open_downloads / arrivals.attempt_h)
    return rate * arrivals.open_share


def _step_h(loads: Sequence[StageLoad], arrivals: ArrivalPattern, rate: float) -> float:
    """Return a hundredth of the time in which a stage's devices arrive, and no more than `MAX_STEPS` in all."""
    waits_h = sum(max(load.minutes / 60, arrivals.arrival_h) + arrivals.attempt_h for load in loads)
    total_h = min(HORIZON_H, waits_h + sum(load.devices for load in loads) / rate)
    return max(arrivals.arrival_h / 100, total_h / MAX_STEPS)
