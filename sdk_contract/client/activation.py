"""The trial of a staged version: decided from the record *before* a runtime opens a file.

A process that dies in a trial leaves a strike. Two strikes, two failed loads or one failed smoke test, and the
old version is what the next start loads; nothing that a bad file does to a runtime can prevent that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdk_contract.client.errors import CrashLoop, LoadFailed, SmokeFailed
from sdk_contract.client.host import Host
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.record import Attempt, Record
from sdk_contract.client.runtime import Activator
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps
from sdk_contract.errors import ContractError
from sdk_contract.wire import EventState

MAX_STRIKES = 2
MAX_BAD = 64


@dataclass(slots=True)
class Activation:
    """Brings the attempt's release to life, or goes back."""

    steps: Steps
    activator: Activator
    host: Host

    def run(self) -> Outcome:
        """From `STAGED`, or from wherever in the trial a restart finds us, to the end."""
        record = self.steps.store.read()
        if record.state is State.ROLLING_BACK:
            return self._go_back(CrashLoop("a roll-back was interrupted"), self.steps.attempt())
        attempt = self.steps.attempt()
        if record.state is State.ACTIVATING and self.host.killed_by_system():
            attempt = self._forgive()
        return self._try(attempt)

    def _try(self, attempt: Attempt) -> Outcome:
        fault: ContractError = CrashLoop("the process ended twice while it tried this version")
        while attempt.strikes < MAX_STRIKES:
            attempt = self._strike(attempt)
            try:
                metrics = self.activator.activate(self.steps.store.installed(attempt.release))
            except LoadFailed as error:
                fault = error
                continue
            except SmokeFailed as error:
                return self._go_back(error, attempt)
            except (KeyboardInterrupt, SystemExit):
                self._forgive()  # an orderly end says nothing about the model
                raise
            return self._commit(attempt, metrics)
        return self._go_back(fault, attempt)

    def _strike(self, attempt: Attempt) -> Attempt:
        """Count the trial before it begins: the strike is what a dead process leaves behind."""
        event: EventState | None = "activating" if attempt.strikes == 0 else None
        record = self.steps.move(State.ACTIVATING, event, edit=_count_strike)
        return record.attempt or attempt

    def _forgive(self) -> Attempt:
        self.steps.move(State.ACTIVATING, edit=_forgive_strike)
        return self.steps.attempt()

    def _commit(self, attempt: Attempt, metrics: Mapping[str, float]) -> Outcome:
        self.steps.move(State.COMMITTED, "committed", metrics=metrics, edit=_make_current)
        self.steps.settle()
        return Outcome(
            "updated",
            "rollback" if attempt.rollback else "update",
            version=attempt.release.version,
            way=attempt.way,
            metrics=metrics,
        )

    def _go_back(self, fault: ContractError, attempt: Attempt) -> Outcome:
        record = self.steps.move(State.ROLLING_BACK, edit=lambda entry: _remember_bad(entry, fault.code))
        current = record.current
        self.activator.restore(self.steps.store.installed(current) if current else None)
        code = record.bad.get(attempt.release.manifest_sha256, fault.code)
        self.steps.move(State.ROLLED_BACK, "rolled_back", fault=fault)
        self.steps.settle()
        version = current.version if current else None
        return Outcome("rolled_back", code, version=version, way=attempt.way, code=code, detail=fault.detail)


def _count_strike(record: Record) -> None:
    if record.attempt is not None:
        record.attempt.strikes += 1


def _forgive_strike(record: Record) -> None:
    if record.attempt is not None:
        record.attempt.strikes = max(0, record.attempt.strikes - 1)


def _make_current(record: Record) -> None:
    if record.attempt is not None:
        record.previous, record.current = record.current, record.attempt.release
        record.bad.pop(record.attempt.release.manifest_sha256, None)


def _remember_bad(record: Record, code: str) -> None:
    if record.attempt is not None:
        record.bad.setdefault(record.attempt.release.manifest_sha256, code)
        for oldest in list(record.bad)[:-MAX_BAD]:
            del record.bad[oldest]
