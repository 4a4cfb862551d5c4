"""When a device should ask again that has been told "not now"."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LATENESS = 0.2
"""Devices may wait up to this share longer than they are told (the contract, "Time")."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The next time at which asking is worth it.

    Attributes:
        at: when.
        lasts: how long from then on.
    """

    at: datetime
    lasts: timedelta


def aim(opening: Opening, now: datetime, poll_s: float, chance: float) -> float:
    """Seconds to wait so that a device comes while it is open, and the fleet not all at once.

    Never beyond the usual pause, so that the device hears of other things as early as ever. A device that may be
    late by more than the opening lasts is called back on the way there, where its lateness is a smaller one.

    Args:
        opening: what it waits for.
        now: the moment of the answer.
        poll_s: the usual pause.
        chance: from 0 to 1, drawn for this device and this time.
    """
    away, lasts = max(0.0, (opening.at - now).total_seconds()), opening.lasts.total_seconds()
    room = (lasts - LATENESS * away) / (1 + LATENESS)
    if room < lasts / 4:
        return min(poll_s, away * (1 - LATENESS) / (1 + LATENESS))
    return min(poll_s, away + chance * min(room, poll_s))
