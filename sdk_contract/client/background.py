"""Background updates. The server sets the poll interval; the device adds jitter, and backs off after errors."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sdk_contract.client.agent import Agent
from sdk_contract.client.errors import Busy
from sdk_contract.client.host.activator import Activator
from sdk_contract.client.host.conditions import jittered
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.client.lifecycle.state_machine import storage_error

DEFAULT_INTERVAL_S = 6 * 3600.0
MAX_INTERVAL_S = 24 * 3600.0
MIN_INTERVAL_S = 1.0
BACKOFF_BASE_S = 30.0
BACKOFF_CAP_S = 6 * 3600.0
BUSY_INTERVAL_S = 60
MAX_WAITING_INTERVAL_S = 900.0
"""Longest interval while an update waits for conditions or space, whatever interval the server asks for."""
MAX_FIRST_DELAY_S = 600.0


def first_poll_delay(interval_s: float) -> float:
    """Random delay of the first poll after a start, seconds, so that a fleet that boots together spreads its polls.

    Args:
        interval_s: the server's last poll interval; 0 if unknown.
    """
    return jittered(min(MAX_FIRST_DELAY_S, (interval_s or DEFAULT_INTERVAL_S) / 10), low=0.0, high=1.0)


def next_poll_delay(result: UpdateResult, previous_backoff_s: float) -> float:
    """Delay until the next poll, seconds.

    After a success this is the server's interval plus up to a fifth (as Omaha does). After an error it is decorrelated
    jitter, `min(cap, uniform(base, 3 * previous))`, and at least the delay that a busy server asked for.

    Args:
        result: of the last update.
        previous_backoff_s: the previous delay after an error; 0 if the last update had none.
    """
    if result.ok:
        interval_s = result.next_poll_s or DEFAULT_INTERVAL_S
        if result.status == "waiting":
            interval_s = min(interval_s, MAX_WAITING_INTERVAL_S)
        return jittered(min(MAX_INTERVAL_S, max(MIN_INTERVAL_S, interval_s)), low=1.0, high=1.2)
    longest_s = max(BACKOFF_BASE_S, 3 * previous_backoff_s)
    backoff_s = BACKOFF_BASE_S + jittered(longest_s - BACKOFF_BASE_S, low=0.0, high=1.0)
    return max(min(BACKOFF_CAP_S, backoff_s), float(result.retry_after_s))


@dataclass(slots=True)
class BackgroundUpdater:
    """Polls until it is stopped.

    Attributes:
        agent: the device.
        activator: activates new versions.
        stop: ends the loop when set.
        on_result: is called with every result.
        poll_now: poll at once after the start, without the random first delay.
    """

    agent: Agent
    activator: Activator
    stop: threading.Event
    on_result: Callable[[UpdateResult], None]
    poll_now: bool = False

    def run(self) -> None:
        """Poll until `stop` is set. Errors are passed to `on_result`, and the loop continues.

        Raises:
            StateDamaged: the state cannot be read.
        """
        backoff_s = 0.0
        delay_s = 0.0 if self.poll_now else first_poll_delay(self.agent.status()["next_poll_s"])
        while not self.stop.wait(delay_s):
            try:
                result = self.agent.update(activator=self.activator)
            except Busy as busy:
                result = UpdateResult("waiting", busy.code, code=busy.code, next_poll_s=BUSY_INTERVAL_S)
            except OSError as error:
                fault = storage_error(error)
                result = UpdateResult("failed", fault.code, code=fault.code, detail=fault.detail)
            self.on_result(result)
            delay_s = next_poll_delay(result, backoff_s)
            backoff_s = 0.0 if result.ok else delay_s
