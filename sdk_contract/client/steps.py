"""Transitions: the new state, what belongs to it, and the event that reports it, as one write."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sdk_contract.client import reports
from sdk_contract.client.errors import NoSpace, StorageFailed
from sdk_contract.client.fetch import Meter
from sdk_contract.client.record import Attempt, Record
from sdk_contract.client.states import State, require
from sdk_contract.client.store import FULL_DISK, Store
from sdk_contract.errors import ContractError
from sdk_contract.wire import EventState


@dataclass(slots=True)
class Steps:
    """The only writer of states for one update."""

    store: Store
    meter: Meter = field(default_factory=Meter)

    def move(
        self,
        target: State,
        event: EventState | None = None,
        *,
        fault: ContractError | None = None,
        metrics: Mapping[str, float] | None = None,
        edit: Callable[[Record], None] | None = None,
    ) -> Record:
        """Go to `target`; it is on disk, with its event, when this returns.

        Raises:
            IllegalTransition: not in the table.
            OSError: nothing has changed.
        """

        def step(record: Record) -> None:
            require(record.state, target)
            record.state = target
            self._count(record)
            if event is not None:
                code, detail = (fault.code, fault.detail) if fault is not None else (None, None)
                reports.note(record, event, code=code, detail=detail, metrics=metrics)
            if edit is not None:
                edit(record)

        return self.store.change(step)

    def attempt(self) -> Attempt:
        """The attempt under way, as it is on disk."""
        attempt = self.store.read().attempt
        if attempt is None:
            raise StorageFailed("the attempt is gone from the record")
        return attempt

    def settle(self) -> None:
        """Be idle: the attempt is over and nothing of it is kept but what it made current."""

        def step(record: Record) -> None:
            require(record.state, State.IDLE)
            record.state = State.IDLE
            record.attempt = None

        self.store.collect(self.store.change(step))
        self.store.fill_reserve()

    def _count(self, record: Record) -> None:
        if record.attempt is None:
            return
        record.attempt.bytes += self.meter.received - self.meter.reported
        record.attempt.wasted += self.meter.wasted - self.meter.reported_wasted
        self.meter.reported, self.meter.reported_wasted = self.meter.received, self.meter.wasted


def now() -> float:
    """Wall clock in seconds; for durations in reports, never for decisions."""
    return time.time()


def disk_fault(error: OSError) -> ContractError:
    """An error of the disk under the name that is reported."""
    if error.errno in FULL_DISK:
        return NoSpace(str(error))
    return StorageFailed(str(error))
