"""Transitions of the update state. The new state, its data and its event are one write."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sdk_contract.client.errors import NoSpace, StorageFailed
from sdk_contract.client.protocol import events
from sdk_contract.client.storage.client_state import Attempt, ClientState
from sdk_contract.client.storage.store import FULL_DISK, Store
from sdk_contract.client.storage.update_states import UpdateState, require_transition
from sdk_contract.client.transfer.range_download import DownloadMeter
from sdk_contract.errors import ContractError
from sdk_contract.wire import EventState


@dataclass(slots=True)
class StateMachine:
    """The only writer of the update state.

    Attributes:
        store: contains the state.
        meter: counts the bytes of this run; transitions add them to the attempt.
    """

    store: Store
    meter: DownloadMeter = field(default_factory=DownloadMeter)

    def transition(
        self,
        target: UpdateState,
        event: EventState | None = None,
        *,
        fault: ContractError | None = None,
        metrics: Mapping[str, float] | None = None,
        edit: Callable[[ClientState], None] | None = None,
    ) -> ClientState:
        """Change to `target`, and return the new state once it is on disk.

        Args:
            target: the new update state.
            event: the event to queue, if any.
            fault: the error that the event reports.
            metrics: the metrics that the event reports.
            edit: further changes to the state, in the same write.

        Raises:
            IllegalTransition: the transition is not in the table.
            OSError: the state could not be written, and is unchanged.
        """

        def apply(state: ClientState) -> None:
            require_transition(state.update_state, target)
            state.update_state = target
            self._add_traffic(state)
            if event is not None:
                code, detail = (fault.code, fault.detail) if fault is not None else (None, None)
                events.queue_attempt_event(state, event, code=code, detail=detail, metrics=metrics)
            if edit is not None:
                edit(state)

        return self.store.change_state(apply)

    def current_attempt(self) -> Attempt:
        """Return the attempt in progress.

        Raises:
            StorageFailed: the state has no attempt.
        """
        attempt = self.store.read_state().attempt
        if attempt is None:
            raise StorageFailed("the state file has no attempt in progress")
        return attempt

    def return_to_idle(self) -> None:
        """End the attempt, and delete the files that are no longer needed."""

        def end_attempt(state: ClientState) -> None:
            require_transition(state.update_state, UpdateState.IDLE)
            state.update_state = UpdateState.IDLE
            state.attempt = None

        self.store.collect_garbage(self.store.change_state(end_attempt))
        self.store.fill_reserve()

    def _add_traffic(self, state: ClientState) -> None:
        if state.attempt is None:
            return
        state.attempt.bytes_downloaded += self.meter.received - self.meter.recorded
        state.attempt.bytes_wasted += self.meter.wasted - self.meter.recorded_wasted
        self.meter.recorded, self.meter.recorded_wasted = self.meter.received, self.meter.wasted


def unix_time() -> float:
    """The wall clock in seconds; used for reported durations only, because it may be wrong."""
    return time.time()


def storage_error(error: OSError) -> ContractError:
    """Convert an error of the disk into the error that is reported."""
    if error.errno in FULL_DISK:
        return NoSpace(str(error))
    return StorageFailed(str(error))
