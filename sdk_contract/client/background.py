"""Silent updates: when to ask next. The server owns the cadence, the device adds dice and patience."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sdk_contract.client.agent import Agent
from sdk_contract.client.errors import Busy
from sdk_contract.client.host import jittered
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.runtime import Activator
from sdk_contract.client.steps import disk_fault

DEFAULT_PERIOD_S = 6 * 3600.0
LONGEST_PERIOD_S = 24 * 3600.0
SHORTEST_PERIOD_S = 1.0
BACK_OFF_BASE_S = 30.0
BACK_OFF_CAP_S = 6 * 3600.0
BUSY_S = 60
LONGEST_WAIT_S = 900.0
"""A device that waits for its charger or for room looks again after this, whatever the server's period."""
MAX_FIRST_POLL_S = 600.0


def first_delay(period_s: float) -> float:
    """Seconds to the first poll after a start: a fleet that boots together must not poll together."""
    return jittered(min(MAX_FIRST_POLL_S, (period_s or DEFAULT_PERIOD_S) / 10), low=0.0, high=1.0)


def next_delay(outcome: Outcome, previous_s: float) -> float:
    """Seconds until the next poll.

    After a success the server's period, up to a fifth longer (as Omaha does); after a failure decorrelated
    jitter, `min(cap, uniform(base, 3 * previous))`, and never sooner than a busy server asks for.

    Args:
        outcome: of the last update.
        previous_s: the last back-off, 0 where the last update was fine.
    """
    if outcome.ok:
        period = outcome.next_poll_s or DEFAULT_PERIOD_S
        if outcome.status == "waiting":
            period = min(period, LONGEST_WAIT_S)
        return jittered(min(LONGEST_PERIOD_S, max(SHORTEST_PERIOD_S, period)), low=1.0, high=1.2)
    widest = max(BACK_OFF_BASE_S, 3 * previous_s)
    wait = BACK_OFF_BASE_S + jittered(widest - BACK_OFF_BASE_S, low=0.0, high=1.0)
    return max(min(BACK_OFF_CAP_S, wait), float(outcome.retry_after_s))


@dataclass(slots=True)
class Background:
    """Polls until told to stop.

    Attributes:
        tell: hears every outcome, for logs.
        eager: poll at once after the start, for a person who watches.
    """

    agent: Agent
    activator: Activator
    stop: threading.Event
    tell: Callable[[Outcome], None]
    eager: bool = False

    def run(self) -> None:
        """Go on until `stop` is set. Faults are outcomes; only a damaged record ends it.

        Raises:
            StateDamaged: the record cannot be read.
        """
        back_off = 0.0
        delay = 0.0 if self.eager else first_delay(self.agent.status()["next_poll_s"])
        while not self.stop.wait(delay):
            try:
                outcome = self.agent.update(activator=self.activator)
            except Busy as busy:
                outcome = Outcome("waiting", busy.code, code=busy.code, next_poll_s=BUSY_S)
            except OSError as error:
                fault = disk_fault(error)
                outcome = Outcome("failed", fault.code, code=fault.code, detail=fault.detail)
            self.tell(outcome)
            delay = next_delay(outcome, back_off)
            back_off = 0.0 if outcome.ok else delay
