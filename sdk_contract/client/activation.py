"""The trial of a staged version: decided from the record *before* a runtime opens a file.

A process that dies in a trial leaves a strike. Two strikes, two failed loads, one failed smoke test or a bad word
of the app, and the old version is what the next start loads; nothing that a bad file does to a runtime can
prevent that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdk_contract.client import in_place
from sdk_contract.client.errors import AppRejected, CrashLoop, HealthTimeout, LoadFailed, NoSpace, SmokeFailed
from sdk_contract.client.host import Host
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.record import Attempt, Record, Release
from sdk_contract.client.runtime import Activator
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps, disk_fault
from sdk_contract.errors import ContractError, Reaction
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
        """Turn old files into new ones where they lie, then go on to the trial.

        Raises:
            StillInUse: the host does not let go of the old files; nothing has changed.
            OSError: the disk refuses; the next run goes on where this one stopped.
        """
        self.activator.let_go()
        try:
            self._finish_moving()
        except ContractError as fault:
            return self.go_back(fault)
        return self._try(self.steps.attempt())

    def _finish_moving(self) -> None:
        """All that this needs is on the disk; from here to the commit the old version is what can be undone."""
        attempt = self.steps.attempt()
        try:
            for step in attempt.in_place:
                in_place.forward(self.steps.store, step)
        except OSError as error:
            fault = disk_fault(error)
            if isinstance(fault, NoSpace):
                raise fault from error  # going back needs no room, so it is not left half done
            raise
        self.steps.store.installed(attempt.release)
        self.steps.move(State.STAGED, "staged")

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
        record = self.steps.move(State.ROLLING_BACK, edit=lambda entry: _turn_back(entry, fault))
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
        if record.attempt is None or not record.attempt.in_place or record.state not in _FILES_MOVE:
            return record.current
        if not self._settled_in_place(record.state):
            return self.steps.store.read().current
        return self.steps.attempt().release

    def _settled_in_place(self, state: State) -> bool:
        """Finish moving bytes, forwards or back; is it the new version that is whole now?"""
        if state is State.ROLLING_BACK:
            self.go_back(CrashLoop("a roll-back was interrupted"))
            return False
        if state is State.APPLYING:
            try:
                self._finish_moving()
            except ContractError as fault:
                self.go_back(fault)
                return False
        return True

    def starting(self) -> Release | None:
        """What an app shall load now, counted as a start while the version still has to prove itself.

        The count is on disk before the app opens a file; when it is full, the old version is the answer.
        """
        record = self.steps.store.read()
        moved = record.attempt is not None and record.attempt.in_place and record.state in _FILES_MOVE
        if moved and not self._settled_in_place(record.state):
            return self.steps.store.read().current
        if not moved and record.state is not State.PROBATION:
            return record.current
        state = self.steps.store.read().state
        if self.host.killed_by_system() and state is not State.STAGED:
            self.steps.move(state, edit=_forgive_strike)
        attempt = self.steps.attempt()
        if attempt.strikes >= self.trial.strikes:
            self.go_back(CrashLoop("the app did not survive its starts with this version"))
            return self.steps.store.read().current
        if state is State.PROBATION:
            self.steps.move(State.PROBATION, edit=self._count_start)
        else:
            self._strike(attempt)
        return attempt.release

    def started(self) -> None:
        """The app is up with the version: the strikes of its starts are forgotten."""
        record = self.steps.store.read()
        moved = record.attempt is not None and record.attempt.in_place
        if record.state is State.PROBATION or (moved and record.state is State.ACTIVATING):
            self.steps.move(record.state, edit=_forget_strikes)

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


def _turn_back(record: Record, fault: ContractError) -> None:
    if record.attempt is None:
        return
    if record.current == record.attempt.release:
        record.current, record.previous = record.previous, None
    if fault.reaction is Reaction.FULL:  # the patch failed, not the version: it may come another way
        failed = [step.patch_sha256 for step in record.attempt.in_place]
        record.failed_patches = [*record.failed_patches, *failed][-MAX_BAD:]
    elif fault.reaction is not Reaction.WAIT:  # a full disk says nothing about the version
        record.bad.setdefault(record.attempt.release.manifest_sha256, fault.code)
    for oldest in list(record.bad)[:-MAX_BAD]:
        del record.bad[oldest]
