"""How long a rollout takes, as a flow: devices come when they poll, bytes leave as fast as the pacing lets them.

Gates are taken to hold and people to agree at once, so this is the time that the fleet and the limits take, and a rollout
with trouble takes longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.domain.policy import Pacing

MOSTLY = 0.95
"""The share of the devices after which the rest is those that are switched off."""
HORIZON_H = 2 * 365 * 24.0
STEPS = 5_000
DAY_H = 24.0
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Leg:
    """One stage.

    Attributes:
        devices: that it takes and no earlier stage does.
        bytes: that they download in all.
        minutes, reports: its hold.
    """

    devices: int
    bytes: int
    minutes: float = 0
    reports: int = 1


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How devices come.

    Attributes:
        poll_h: between two polls of a device.
        open_share: of the time, how much lies inside the windows.
        attempt_h: from an offer to its report.
    """

    poll_h: float
    open_share: float = 1.0
    attempt_h: float = 0.5

    @property
    def arrival_h(self) -> float:
        """Until every device has come while a window was open: a day of all zones where there are windows."""
        return self.poll_h if self.open_share >= 1 else max(DAY_H, self.poll_h / max(self.open_share, 0.01))


@dataclass(frozen=True, slots=True)
class Forecast:
    """When things happen, in hours after the start; None for never.

    Attributes:
        opens_h: one for each stage.
        mostly_h: when 95 % of all devices of all stages have been offered it.
        stuck: the stage that has too few devices to end by itself.
    """

    opens_h: tuple[float | None, ...]
    mostly_h: float | None
    stuck: int | None


@dataclass(slots=True)
class _Open:
    """A stage while it is open, in devices."""

    leg: Leg
    since: float
    waiting: float = 0
    arrived: float = 0
    served: float = 0
    enough_at: float | None = None

    def arrive(self, share: float) -> None:
        new = min(self.leg.devices - self.arrived, self.leg.devices * share)
        self.arrived += new
        self.waiting += new

    def serve(self, devices: float, now: float) -> None:
        self.waiting -= devices
        self.served += devices
        if self.enough_at is None and self.served >= self.leg.reports - _NOTHING:
            self.enough_at = now

    def may_end(self, now: float, attempt_h: float) -> bool:
        held = now >= self.since + self.leg.minutes / 60
        return held and self.enough_at is not None and now >= self.enough_at + attempt_h


def forecast(legs: Sequence[Leg], rhythm: Rhythm, pacing: Pacing) -> Forecast:
    """Follow the flow until 95 % of the devices have been offered the version.

    Args:
        legs: the stages in their order.
        rhythm: how devices come.
        pacing: how fast they may be served.
    """
    stuck = next((index for index, leg in enumerate(legs) if leg.devices < leg.reports), None)
    total = sum(leg.devices for leg in legs)
    if not total:
        return Forecast((None,) * len(legs), None, stuck)
    rate = _devices_per_hour(legs, rhythm, pacing)
    step = _step(legs, rhythm, rate)
    opens: list[float | None] = [None] * len(legs)
    running: list[_Open] = []
    now, served = 0.0, 0.0
    while now <= HORIZON_H:
        if len(running) < len(legs) and (not running or running[-1].may_end(now, rhythm.attempt_h)):
            opens[len(running)] = now
            running.append(_Open(legs[len(running)], now))
        now += step
        served += _serve(running, now, step / rhythm.arrival_h, rate * step)
        if served >= MOSTLY * total - _NOTHING:
            return Forecast(tuple(opens), now, stuck)
        if not any(stage.waiting > _NOTHING or stage.arrived < stage.leg.devices for stage in running) and (
            running[-1].enough_at is None or len(running) == len(legs)
        ):
            break
    return Forecast(tuple(opens), None, stuck)


def _serve(running: Sequence[_Open], now: float, arriving: float, room: float) -> float:
    """Serve those who have come, as far as there is room, earlier stages first; returns how many."""
    served = 0.0
    for stage in running:
        stage.arrive(arriving)
        taken = min(stage.waiting, room - served)
        stage.serve(taken, now)
        served += taken
    return served


def _devices_per_hour(legs: Sequence[Leg], rhythm: Rhythm, pacing: Pacing) -> float:
    """How many devices can be served in an hour, averaged over open and shut windows."""
    devices, size = sum(leg.devices for leg in legs), sum(leg.bytes for leg in legs)
    rate = float("inf")
    if pacing.bytes_per_hour is not None and size:
        rate = pacing.bytes_per_hour * devices / size
    if pacing.open_downloads is not None:
        rate = min(rate, pacing.open_downloads / rhythm.attempt_h)
    return rate * rhythm.open_share


def _step(legs: Sequence[Leg], rhythm: Rhythm, rate: float) -> float:
    """A hundredth of the time in which a stage's devices come, but no more than so many steps in all."""
    holds = sum(max(leg.minutes / 60, rhythm.arrival_h) + rhythm.attempt_h for leg in legs)
    in_all = min(HORIZON_H, holds + sum(leg.devices for leg in legs) / rate)
    return max(rhythm.arrival_h / 100, in_all / STEPS)
