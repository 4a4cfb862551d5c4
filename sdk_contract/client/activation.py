"""The trial of a staged version: decided from the record *before* a runtime opens a file.

A process that dies in a trial leaves a strike. Two strikes, two failed loads, one failed smoke test or a bad word
of the app, and the old version is what the next start loads; nothing that a bad file does to a runtime can
prevent that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdk_contract.client import in_place
from sdk_contract.client.errors import AppRejected, CrashLoop, HealthTimeout, LoadFailed, SmokeFailed
from sdk_contract.client.host import Host
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.record import Attempt, Record, Release
from sdk_contract.client.runtime import Activator
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps
from sdk_contract.errors import ContractError
from sdk_contract.wire import EventState

MAX_BAD = 64
_FILES_MOVE = frozenset({State.APPLYING, State.STAGED, State.ACTIVATING, State.ROLLING_BACK})


@dataclass(frozen=True, slots=True)
class Trial:
    """How a new version proves itself.

    Attributes:
        strikes: loads or starts that fail, or never end, before the old version comes back.
        probation_s: after a good smoke test, how long the app has to call it healthy; 0 to commit at once.
    """

    strikes: int = 2
    probation_s: float = 0.0


@dataclass(slots=True)
class Activation:
    """Brings the attempt's release to life, or goes back."""

    steps: Steps
    activator: Activator
    host: Host
    trial: Trial

    def run(self) -> Outcome:
        """From `STAGED`, or from wherever in the trial a restart finds us, as far as it goes now."""
        record = self.steps.store.read()
        attempt = self.steps.attempt()
        if record.state is State.ROLLING_BACK:
            return self.go_back(CrashLoop("a roll-back was interrupted"))
        if record.state is State.PROBATION:
            return self._judge(attempt)
        if record.state is State.APPLYING:
            return self.apply_in_place()
        if record.state is State.ACTIVATING and self.host.killed_by_system():
            attempt = self._forgive()
        return self._try(attempt)

    def apply_in_place(self) -> Outcome:
        """Turn old files into new ones where they lie, then go on; all that this needs is on the disk.

        From here to the end of the trial the old version exists only as what can be undone, so whatever fails
        is undone at once.
        """
        attempt = self.steps.attempt()
        try:
            self.activator.let_go()
            for step in attempt.in_place:
                in_place.forward(self.steps.store, step)
        except OSError:
            raise  # the disk refuses now: the next run goes on where this one stopped
        except ContractError as fault:
            return self.go_back(fault)
        self.steps.store.installed(attempt.release)
        self.steps.move(State.STAGED, "staged")
        return self._try(attempt)

    def _try(self, attempt: Attempt) -> Outcome:
        fault: ContractError = CrashLoop("the process ended each time it tried this version")
        while attempt.strikes < self.trial.strikes:
            attempt = self._strike(attempt)
            try:
                metrics = self.activator.activate(self.steps.store.installed(attempt.release))
            except LoadFailed as error:
                fault = error
            except SmokeFailed as error:
                return self.go_back(error)
            except (KeyboardInterrupt, SystemExit):
                self._forgive()  # an orderly end says nothing about the model
                raise
            else:
                return self._accept(attempt, metrics)
        return self.go_back(fault)

    def _accept(self, attempt: Attempt, metrics: Mapping[str, float]) -> Outcome:
        if not self.trial.probation_s:
            return self.commit(metrics)
        self.steps.move(State.PROBATION, edit=self._put_on_probation)
        return Outcome(
            "probation", "update", version=attempt.release.version, way=attempt.way, metrics=metrics
        )

    def _judge(self, attempt: Attempt) -> Outcome:
        """Time without a good word runs from the last start: a device that was off had no chance to give one."""
        waited = self.host.now().timestamp() - attempt.probation_since
        if waited > attempt.probation_s:
            return self.go_back(HealthTimeout(f"no word of health within {attempt.probation_s:g} s"))
        return Outcome("probation", "update", version=attempt.release.version, way=attempt.way)

    def commit(self, metrics: Mapping[str, float]) -> Outcome:
        """The version has proved itself."""
        attempt = self.steps.attempt()
        self.steps.move(State.COMMITTED, "committed", metrics=metrics, edit=_commit)
        self.steps.settle()
        return Outcome(
            "updated",
            "rollback" if attempt.rollback else "update",
            version=attempt.release.version,
            way=attempt.way,
            metrics=metrics,
        )

    def go_back(self, fault: ContractError) -> Outcome:
        """Make the version before the current one again, and remember which one was bad, and why."""
        attempt = self.steps.attempt()
        record = self.steps.move(State.ROLLING_BACK, edit=lambda entry: _turn_back(entry, fault.code))
        current = record.current
        self._undo(attempt)
        self.activator.restore(self.steps.store.installed(current) if current else None)
        code = record.bad.get(attempt.release.manifest_sha256, fault.code)
        self.steps.move(State.ROLLED_BACK, "rolled_back", fault=fault)
        self.steps.settle()
        version = current.version if current else None
        return Outcome("rolled_back", code, version=version, way=attempt.way, code=code, detail=fault.detail)

    def _undo(self, attempt: Attempt) -> None:
        if attempt.in_place:
            self.activator.let_go()
        for step in reversed(attempt.in_place):
            in_place.backward(self.steps.store, step)

    def whole(self) -> Release | None:
        """A version whose files are all here; what an interrupted update in place left is finished first."""
        record = self.steps.store.read()
        attempt = record.attempt
        if attempt is None or not attempt.in_place or record.state not in _FILES_MOVE:
            return record.current
        if record.state is State.ROLLING_BACK:
            self._undo(attempt)
            return record.current
        for step in attempt.in_place:
            in_place.forward(self.steps.store, step)
        return attempt.release

    def starting(self) -> Release | None:
        """What an app shall load now, counted as a start while the version is on probation.

        The count is on disk before the app opens a file; when it is full, the old version is the answer.
        """
        record = self.steps.store.read()
        if record.state is not State.PROBATION or record.attempt is None:
            return record.current
        if self.host.killed_by_system():
            self.steps.move(State.PROBATION, edit=_forgive_strike)
        if self.steps.attempt().strikes >= self.trial.strikes:
            self.go_back(CrashLoop("the app did not survive its starts with this version"))
            return self.steps.store.read().current
        return self.steps.move(State.PROBATION, edit=self._count_start).current

    def started(self) -> None:
        """The app is up with the version: the strikes of its starts are forgotten."""
        if self.steps.store.read().state is State.PROBATION:
            self.steps.move(State.PROBATION, edit=_forget_strikes)

    def health(self, *, good: bool, metrics: Mapping[str, float], detail: str) -> Outcome | None:
        """The app's word on the version that is on probation; None when none is."""
        if self.steps.store.read().state is not State.PROBATION:
            return None
        return self.commit(metrics) if good else self.go_back(AppRejected(detail))

    def _strike(self, attempt: Attempt) -> Attempt:
        """Count the trial before it begins: the strike is what a dead process leaves behind."""
        event: EventState | None = "activating" if attempt.strikes == 0 else None
        record = self.steps.move(State.ACTIVATING, event, edit=_count_strike)
        return record.attempt or attempt

    def _forgive(self) -> Attempt:
        self.steps.move(State.ACTIVATING, edit=_forgive_strike)
        return self.steps.attempt()

    def _put_on_probation(self, record: Record) -> None:
        if record.attempt is not None:
            record.previous, record.current = record.current, record.attempt.release
            record.attempt.strikes = 0
            record.attempt.probation_s = self.trial.probation_s
            record.attempt.probation_since = self.host.now().timestamp()

    def _count_start(self, record: Record) -> None:
        _count_strike(record)
        if record.attempt is not None:
            record.attempt.probation_since = self.host.now().timestamp()


def _count_strike(record: Record) -> None:
    if record.attempt is not None:
        record.attempt.strikes += 1


def _forgive_strike(record: Record) -> None:
    if record.attempt is not None:
        record.attempt.strikes = max(0, record.attempt.strikes - 1)


def _forget_strikes(record: Record) -> None:
    if record.attempt is not None:
        record.attempt.strikes = 0


def _commit(record: Record) -> None:
    if record.attempt is None:
        return
    if record.current != record.attempt.release:  # without probation, nothing was switched yet
        record.previous, record.current = record.current, record.attempt.release
    if record.attempt.in_place:
        record.previous = None  # its files became those of the current version
    record.bad.pop(record.attempt.release.manifest_sha256, None)


def _turn_back(record: Record, code: str) -> None:
    if record.attempt is None:
        return
    if record.current == record.attempt.release:
        record.current, record.previous = record.previous, None
    record.bad.setdefault(record.attempt.release.manifest_sha256, code)
    for oldest in list(record.bad)[:-MAX_BAD]:
        del record.bad[oldest]
