"""What a busy server does about it: asks devices to come less often, and turns away what it cannot answer in time."""

from dataclasses import dataclass

BUSY = 0.7
"""Share of the time at work above which devices are asked to come less often."""
MAX_STRETCH = 4.0
LATE_S = 0.25
"""How late a process is that asks devices to come as seldom as possible."""
PROMPT_S = 0.1
"""How late a process may be at its requests; from the room for those that wait follows how late it is."""
LEAST_ROOM, FIRST_ROOM, MOST_ROOM = 32, 500, 5000
ONE_IN = 6
"""Of so many that find no room one is let in: at a seventh of what answering costs, turning the others away never takes
more time than answering."""
SHED_RETRY_S = 15
RETRY_SPREAD = 3.0
"""The last device that was turned away comes back so many times later than the first."""


@dataclass(frozen=True, slots=True)
class Load:
    """How a process is doing.

    Attributes:
        busy: share of the last seconds in which it worked, 0 to 1.
        late_s: how much later than due it gets to things, seconds.
    """

    busy: float = 0.0
    late_s: float = 0.0


def stretch(load: Load) -> float:
    """How many times longer than usual devices should wait until their next poll: 1 to `MAX_STRETCH`."""
    by_work = max(0.0, load.busy - BUSY) / (1 - BUSY)
    by_lateness = load.late_s / LATE_S
    return 1 + (MAX_STRETCH - 1) * min(1.0, max(by_work, by_lateness))


def room(past: int, late_s: float, most_waited: int) -> int:
    """How many requests may wait for their turn from now on.

    Bounded by time, as it is not the number that hurts: what stands in the queue is answered late, and as late as the
    process is already.

    Args:
        past: how many were allowed until now.
        late_s: how late the process was with them.
        most_waited: at the same time, as long as that was allowed.
    """
    if late_s > PROMPT_S and most_waited > LEAST_ROOM:
        return max(LEAST_ROOM, int(min(past, most_waited) * PROMPT_S / late_s))
    if past < FIRST_ROOM or most_waited >= past:
        return min(MOST_ROOM, past + past // 4)
    return past


def next_poll_s(base_s: float, load: Load, chance: float) -> int:
    """Seconds until the next poll: the usual pause, stretched under load, with a tenth of jitter on either side.

    Jitter spreads a fleet that was started, or cut off, at the same moment.

    Args:
        base_s: the usual pause.
        load: of the process that answers.
        chance: from 0 to 1, drawn for this device and this time.
    """
    return max(1, round(base_s * stretch(load) * (0.9 + 0.2 * chance)))


def come_back_s(chance: float) -> int:
    """Seconds after which somebody who was turned away may try again, spread so that they do not come together."""
    return round(SHED_RETRY_S * (1 + (RETRY_SPREAD - 1) * chance))


def first_after_outage_s(base_s: float, soon_s: float, chance: float) -> int:
    """Seconds until the next poll of a device that would have been offered something: soon, and spread widely."""
    return max(1, round(min(base_s, soon_s) * (0.5 + chance)))
