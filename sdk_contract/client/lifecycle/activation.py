"""The trial of a staged version, and the rollback if it fails.

A start counts as failed on disk before the runtime opens a file, and the count is reset when the start is confirmed.
After two failed starts, two failed loads, one failed smoke test or a bad health report, the next start loads the old
version. A file that crashes the runtime cannot prevent this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sdk_contract.client.errors import AppRejected, CrashLoop, HealthTimeout, LoadFailed, NoSpace, SmokeFailed
from sdk_contract.client.host.activator import Activator
from sdk_contract.client.host.conditions import Host
from sdk_contract.client.lifecycle import in_place
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.client.lifecycle.state_edits import (
    count_failed_start,
    discount_failed_start,
    has_in_place_steps,
    make_current,
    reset_failed_starts,
    restore_previous,
)
from sdk_contract.client.lifecycle.state_machine import StateMachine, storage_error
from sdk_contract.client.storage.client_state import Attempt, ClientState, Release
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.errors import ContractError
from sdk_contract.wire import EventState

_IN_PLACE_STATES = frozenset(
    {UpdateState.APPLYING, UpdateState.STAGED, UpdateState.ACTIVATING, UpdateState.ROLLING_BACK}
)


@dataclass(frozen=True, slots=True)
class TrialPolicy:
    """The rules for the trial of a new version.

    Attributes:
        max_failed_starts: failed loads or starts before the rollback.
        probation_s: time for the app's health report after a passed smoke test, seconds; 0 to commit at once.
    """

    max_failed_starts: int = 2
    probation_s: float = 0.0


@dataclass(slots=True)
class Activation:
    """Activates the attempt's release, and commits it or rolls back."""

    machine: StateMachine
    activator: Activator
    host: Host
    policy: TrialPolicy

    def run(self) -> UpdateResult:
        """Continue the trial from the current state, as far as possible now."""
        state = self.machine.store.read_state()
        attempt = self.machine.current_attempt()
        if state.update_state is UpdateState.ROLLING_BACK:
            return self.roll_back(CrashLoop("the process ended during a rollback"))
        if state.update_state is UpdateState.PROBATION:
            return self._check_probation(attempt)
        if state.update_state is UpdateState.APPLYING:
            return self.apply_in_place()
        if state.update_state is UpdateState.ACTIVATING and self.host.killed_by_system():
            attempt = self._discount_load()
        return self._run_trial(attempt)

    def apply_in_place(self) -> UpdateResult:
        """Patch the old files in place, then start the trial.

        Raises:
            StillInUse: the app did not close the old files; nothing has changed.
            OSError: the disk failed; the next run continues.
        """
        self.activator.unload()
        try:
            self._finish_in_place()
        except ContractError as fault:
            return self.roll_back(fault)
        return self._run_trial(self.machine.current_attempt())

    def _finish_in_place(self) -> None:
        """Apply the patches, which are complete on disk. Until the commit, the undo log can restore the old version."""
        attempt = self.machine.current_attempt()
        try:
            for step in attempt.in_place_steps:
                in_place.apply_in_place(self.machine.store, step)
        except OSError as error:
            fault = storage_error(error)
            if isinstance(fault, NoSpace):
                raise fault from error  # the rollback needs no free space, so the update is reverted at once
            raise
        self.machine.store.link_release(attempt.release)
        self.machine.transition(UpdateState.STAGED, "staged")

    def _run_trial(self, attempt: Attempt) -> UpdateResult:
        fault: ContractError = CrashLoop("the process ended during each load of this version")
        while attempt.failed_starts < self.policy.max_failed_starts:
            attempt = self._begin_load(attempt)
            try:
                metrics = self.activator.activate(self.machine.store.link_release(attempt.release))
            except LoadFailed as error:
                fault = error
            except SmokeFailed as error:
                return self.roll_back(error)
            except (KeyboardInterrupt, SystemExit):
                self._discount_load()  # an intentional exit is not the model's fault
                raise
            else:
                return self._accept(attempt, metrics)
        return self.roll_back(fault)

    def _accept(self, attempt: Attempt, metrics: Mapping[str, float]) -> UpdateResult:
        if not self.policy.probation_s:
            return self.commit(metrics)
        self.machine.transition(UpdateState.PROBATION, edit=self._begin_probation)
        return _probation_result(attempt, metrics)

    def _check_probation(self, attempt: Attempt) -> UpdateResult:
        """Check the time on probation, which counts from the last start because an app that is off cannot report."""
        waited = self.host.now().timestamp() - attempt.probation_since
        if waited > attempt.probation_s:
            return self.roll_back(HealthTimeout(f"no health report within {attempt.probation_s:g} s"))
        return _probation_result(attempt, {})

    def commit(self, metrics: Mapping[str, float]) -> UpdateResult:
        """Make the release the current one for good."""
        attempt = self.machine.current_attempt()
        self.machine.transition(UpdateState.COMMITTED, "committed", metrics=metrics, edit=make_current)
        self.machine.return_to_idle()
        return UpdateResult(
            "updated",
            "rollback" if attempt.rollback else "update",
            version=attempt.release.version,
            download_format=attempt.download_format,
            metrics=metrics,
        )

    def roll_back(self, fault: ContractError) -> UpdateResult:
        """Restore the previous version, and add the failed one to the blocklist if the failure is its own."""
        attempt = self.machine.current_attempt()
        state = self.machine.transition(
            UpdateState.ROLLING_BACK, edit=lambda latest: restore_previous(latest, fault)
        )
        current = state.current
        self._revert_in_place(attempt)
        self.activator.restore(self.machine.store.link_release(current) if current else None)
        code = state.blocklist.get(attempt.release.manifest_sha256, fault.code)
        self.machine.transition(UpdateState.ROLLED_BACK, "rolled_back", fault=fault)
        self.machine.return_to_idle()
        return UpdateResult(
            "rolled_back",
            code,
            version=current.version if current else None,
            download_format=attempt.download_format,
            code=code,
            detail=fault.detail,
        )

    def _revert_in_place(self, attempt: Attempt) -> None:
        if attempt.in_place_steps:
            self.activator.unload()
        for step in reversed(attempt.in_place_steps):
            in_place.revert_in_place(self.machine.store, step)

    def complete_release(self) -> Release | None:
        """Return the release to load. An interrupted in-place update is finished or reverted first."""
        state = self.machine.store.read_state()
        if (
            state.attempt is None
            or not state.attempt.in_place_steps
            or state.update_state not in _IN_PLACE_STATES
        ):
            return state.current
        if not self._finish_interrupted(state.update_state):
            return self.machine.store.read_state().current
        return self.machine.current_attempt().release

    def _finish_interrupted(self, interrupted_state: UpdateState) -> bool:
        """Finish or revert an interrupted in-place update; returns whether the new version is complete."""
        if interrupted_state is UpdateState.ROLLING_BACK:
            self.roll_back(CrashLoop("the process ended during a rollback"))
            return False
        if interrupted_state is UpdateState.APPLYING:
            try:
                self._finish_in_place()
            except ContractError as fault:
                self.roll_back(fault)
                return False
        return True

    def begin_start(self) -> Release | None:
        """Return the release that the app is to load, and count the start if the release is on trial.

        The count is on disk before the app opens a file. At its limit, the previous release is returned.
        """
        state = self.machine.store.read_state()
        in_place_update = has_in_place_steps(state) and state.update_state in _IN_PLACE_STATES
        if in_place_update and not self._finish_interrupted(state.update_state):
            return self.machine.store.read_state().current
        if not in_place_update and state.update_state is not UpdateState.PROBATION:
            return state.current
        return self._count_start()

    def _count_start(self) -> Release | None:
        current_state = self.machine.store.read_state().update_state
        if self.host.killed_by_system() and current_state is not UpdateState.STAGED:
            self.machine.transition(current_state, edit=discount_failed_start)
        attempt = self.machine.current_attempt()
        if attempt.failed_starts >= self.policy.max_failed_starts:
            self.roll_back(CrashLoop("the app did not confirm its starts with this version"))
            return self.machine.store.read_state().current
        if current_state is UpdateState.PROBATION:
            self.machine.transition(UpdateState.PROBATION, edit=self._count_probation_start)
        else:
            self._begin_load(attempt)
        return attempt.release

    def confirm_start(self) -> None:
        """Reset the count of failed starts, because the app runs with the release on trial."""
        state = self.machine.store.read_state()
        states = (
            {UpdateState.PROBATION, UpdateState.ACTIVATING}
            if has_in_place_steps(state)
            else {UpdateState.PROBATION}
        )
        if state.update_state in states:
            self.machine.transition(state.update_state, edit=reset_failed_starts)

    def report_health(self, *, good: bool, metrics: Mapping[str, float], detail: str) -> UpdateResult | None:
        """Commit or roll back the version on probation; returns None when no version is on probation."""
        if self.machine.store.read_state().update_state is not UpdateState.PROBATION:
            return None
        return self.commit(metrics) if good else self.roll_back(AppRejected(detail))

    def _begin_load(self, attempt: Attempt) -> Attempt:
        """Count the load as failed before it begins, so that a crash leaves the count behind."""
        event: EventState | None = "activating" if attempt.failed_starts == 0 else None
        state = self.machine.transition(UpdateState.ACTIVATING, event, edit=count_failed_start)
        return state.attempt or attempt

    def _discount_load(self) -> Attempt:
        self.machine.transition(UpdateState.ACTIVATING, edit=discount_failed_start)
        return self.machine.current_attempt()

    def _begin_probation(self, state: ClientState) -> None:
        if state.attempt is not None:
            state.previous, state.current = state.current, state.attempt.release
            state.attempt.failed_starts = 0
            state.attempt.probation_s = self.policy.probation_s
            state.attempt.probation_since = self.host.now().timestamp()

    def _count_probation_start(self, state: ClientState) -> None:
        count_failed_start(state)
        if state.attempt is not None:
            state.attempt.probation_since = self.host.now().timestamp()


def _probation_result(attempt: Attempt, metrics: Mapping[str, float]) -> UpdateResult:
    return UpdateResult(
        "probation",
        "update",
        version=attempt.release.version,
        download_format=attempt.download_format,
        metrics=metrics,
    )
