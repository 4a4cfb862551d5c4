"""One update from poll to commit. Each transition of `update_states.py` is on disk before its work begins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sdk_contract.client.errors import Superseded, VersionBlocked
from sdk_contract.client.lifecycle.activation import Activation
from sdk_contract.client.lifecycle.downloader import Downloader, UpdateChanged
from sdk_contract.client.lifecycle.factory_version import copy_from_factory
from sdk_contract.client.lifecycle.result import Status, UpdateResult
from sdk_contract.client.lifecycle.state_edits import (
    add_verified_objects,
    is_same_attempt,
    new_attempt,
    set_activation_deferred,
    set_in_place_steps,
    set_last_wait_code,
)
from sdk_contract.client.lifecycle.state_machine import StateMachine, storage_error
from sdk_contract.client.protocol import events
from sdk_contract.client.protocol.poller import Poller
from sdk_contract.client.protocol.verification import VerifiedUpdate
from sdk_contract.client.storage.client_state import Attempt, ClientState, InPlaceStep, Release
from sdk_contract.client.storage.file_system import write_atomically
from sdk_contract.client.storage.update_states import (
    ON_RESTART,
    TRANSITIONS,
    RestartAction,
    UpdateState,
    require_transition,
)
from sdk_contract.documents import Component
from sdk_contract.errors import ContractError, MixedVersions, Reaction
from sdk_contract.wire import EventState

MAX_CHANGED_UPDATES = 3
POLICY_CODES = 5
"""Thousands digit of the policy error codes, which are reported as `rejected` instead of `failed`."""
_TEMPORARY_REASONS = frozenset(
    {"degraded", "throttled", "paused", "outside_window", "patch_building", "awaiting_activation"}
)
"""Temporary reasons for an empty response; the attempt and its downloads are kept."""
_NOT_ABORTABLE = frozenset(
    {
        UpdateState.IDLE,
        UpdateState.APPLYING,
        UpdateState.ACTIVATING,
        UpdateState.PROBATION,
        UpdateState.COMMITTED,
        UpdateState.ROLLING_BACK,
    }
)


@dataclass(slots=True)
class UpdateRun:
    """One run of `Agent.update`: resumes interrupted work, polls, and installs the result.

    Attributes:
        machine: writes the state.
        poller: polls and verifies.
        downloader: downloads missing components.
        activation: activates, commits and rolls back.
    """

    machine: StateMachine
    poller: Poller
    downloader: Downloader
    activation: Activation
    _installing: bool = False

    def run(self) -> UpdateResult:
        """Run the update, and send the queued events.

        Returns:
            The result; errors of network, server, disk and model are results, not exceptions.

        Raises:
            Busy: another process updates in this directory.
            StateDamaged: the state cannot be read.
        """
        with self.machine.store.update_lock():
            result = self._handle_errors(self._resume_or_poll)
            events.try_send_queued(self.machine.store, self.poller.api)
        meter = self.machine.meter
        return replace(
            result,
            bytes_downloaded=meter.received,
            bytes_wasted=meter.wasted,
            next_poll_s=self.machine.store.read_state().next_poll_s,
        )

    def _handle_errors(self, step: Callable[[], UpdateResult]) -> UpdateResult:
        """Run a step, and record the error that stops it."""
        try:
            try:
                return step()
            except OSError as error:
                raise storage_error(error) from error
        except ContractError as fault:
            return self._record_failure(fault)

    def _record_failure(self, fault: ContractError) -> UpdateResult:
        """Record an error; if the disk fails again, return that error, and the next start repeats the last step."""
        try:
            return self._stop(fault)
        except OSError as error:
            second = storage_error(error)
            status: Status = "waiting" if second.reaction is Reaction.WAIT else "failed"
            return UpdateResult(status, second.code, code=second.code, detail=f"{second}, after {fault}")

    def _resume_or_poll(self) -> UpdateResult:
        state = self.machine.store.read_state()
        action = RestartAction.POLL if state.deferred_release else ON_RESTART[state.update_state]
        if action in (RestartAction.ACTIVATE, RestartAction.RESUME_TRIAL, RestartAction.ROLL_BACK):
            result = self.activation.run()
            return self._poll_on_probation(result) if result.status == "probation" else result
        if action is RestartAction.CLEAN_UP:
            self.machine.return_to_idle()
        self.machine.store.collect_garbage(
            self.machine.store.read_state()
        )  # completes an interrupted clean-up
        update = self.poller.poll()
        return self._install_until_stable(update)

    def _poll_on_probation(self, result: UpdateResult) -> UpdateResult:
        """Poll during probation too, because the server may order a rollback after failures on other devices."""
        update = self.poller.poll()
        if update.directive.action != "rollback":
            return result
        self.activation.roll_back(Superseded("the server ordered a rollback of this version"))
        return self._install_until_stable(update)

    def _install_until_stable(self, update: VerifiedUpdate) -> UpdateResult:
        self._installing = True
        for _ in range(MAX_CHANGED_UPDATES):
            try:
                return self._install(update)
            except UpdateChanged as change:
                update = change.update
        return self._install(update)

    def _install(self, update: VerifiedUpdate) -> UpdateResult:
        state = self.machine.store.read_state()
        if update.release is None:
            return self._nothing_to_install(update, state)
        if state.current == update.release:
            return self._confirm_current(update, update.release)
        is_staged = state.deferred_release and is_same_attempt(state.attempt, update)
        if is_staged and not self.machine.store.missing_components(update.release):
            return self._activate_or_defer(update)
        self._begin_attempt(update, update.release)
        code = state.blocklist.get(update.release.manifest_sha256)
        if code and not update.directive.ext.get("retry"):
            raise VersionBlocked(f"{update.release.version} failed on this device before: {code}")
        self._stage(update, update.release)
        return self._activate_or_defer(update)

    def _activate_or_defer(self, update: VerifiedUpdate) -> UpdateResult:
        """Store the server's decision, so that a restart without a network knows it, and activate if allowed."""
        deferred = update.activation_deferred
        state = self.machine.store.change_state(
            lambda latest: set_activation_deferred(latest, deferred=deferred)
        )
        if deferred and state.update_state is UpdateState.STAGED:
            running = state.current.version if state.current else None
            return UpdateResult("waiting", "awaiting_activation", version=running)
        return self.activation.run()

    def _nothing_to_install(self, update: VerifiedUpdate, state: ClientState) -> UpdateResult:
        action, reason = update.directive.action, update.directive.reason
        if state.attempt is not None and action == "none" and reason not in _TEMPORARY_REASONS:
            self.machine.transition(UpdateState.CANCELLED, "superseded")
            self.machine.return_to_idle()
        return UpdateResult(
            "up_to_date" if reason == "up_to_date" else "pause" if action == "pause" else "none",
            reason,
            version=state.current.version if state.current else None,
        )

    def _confirm_current(self, update: VerifiedUpdate, release: Release) -> UpdateResult:
        """Report the offered release as committed once more, because it already runs and the server missed that."""

        def report_committed(state: ClientState) -> None:
            if state.attempt is None or state.attempt.attempt_id != update.directive.attempt_id:
                state.attempt = new_attempt(update, release)
            events.queue_attempt_event(state, "committed")
            state.attempt, state.update_state = None, UpdateState.IDLE

        self.machine.store.change_state(report_committed)
        return UpdateResult("up_to_date", "up_to_date", release.version)

    def _begin_attempt(self, update: VerifiedUpdate, release: Release) -> None:
        """Start an attempt: store the manifest, raise the floor, and end an older attempt."""
        store = self.machine.store
        write_atomically(
            store.file_system, store.manifests / release.manifest_sha256, update.manifest_envelope
        )

        def begin(state: ClientState) -> None:
            require_transition(state.update_state, UpdateState.OFFERED)
            state.update_state = UpdateState.OFFERED
            state.floor = max(state.floor, update.floor)
            if is_same_attempt(state.attempt, update):
                set_activation_deferred(state, deferred=update.activation_deferred)
                return
            if state.attempt is not None:
                events.queue_attempt_event(state, "superseded")
            state.attempt = new_attempt(update, release)
            events.queue_attempt_event(state, "acknowledged")

        store.collect_garbage(store.change_state(begin))

    def _stage(self, update: VerifiedUpdate, release: Release) -> None:
        """Obtain and verify every component; also components that are already on disk are verified."""
        store = self.machine.store
        missing = self._copy_from_factory(self._missing_components(release))
        steps: list[InPlaceStep] = []
        if missing:
            self.downloader.low_storage = self.downloader.low_storage and not update.activation_deferred
            steps = self.downloader.download(update, missing)
            self.machine.transition(UpdateState.VERIFYING, "downloaded")
        if set(store.missing_components(release)) != {step.name for step in steps}:
            raise MixedVersions("a component disappeared from the disk during the download")
        if steps:
            self.machine.transition(UpdateState.APPLYING, edit=lambda state: set_in_place_steps(state, steps))
            return
        store.link_release(release)
        self.machine.transition(UpdateState.STAGED, "staged")

    def _missing_components(self, release: Release) -> list[Component]:
        """Components to obtain. An object on disk is verified once per attempt, not again after every pause."""
        store, verified = self.machine.store, set(self.machine.current_attempt().verified_objects)
        present = [part for part in release.components if store.has_object(part.sha256, part.size)]
        unverified = [part for part in present if part.sha256 not in verified]
        newly_verified = [part for part in unverified if store.verify_object(part.sha256, part.size)]
        if newly_verified:
            store.change_state(lambda state: add_verified_objects(state, newly_verified))
        verified |= {part.sha256 for part in newly_verified}
        return [part for part in release.components if part not in present or part.sha256 not in verified]

    def _copy_from_factory(self, missing: list[Component]) -> list[Component]:
        """Copy missing components from the app's factory version, and return the rest."""
        folder = self.poller.configuration.factory
        if folder is None or not missing:
            return missing
        copied = copy_from_factory(self.machine.store, Path(folder), missing)
        if copied:
            self.machine.store.change_state(lambda state: add_verified_objects(state, copied))
        return [part for part in missing if part not in copied]

    def _stop(self, fault: ContractError) -> UpdateResult:
        """Stop on an error. The reactions `wait` and `retry` keep the attempt; others end and report it.

        A failed or forged poll never ends an attempt, because the attempt itself did not fail.
        """
        state = self.machine.store.read_state()
        if self._installing and state.attempt is not None and state.update_state not in _NOT_ABORTABLE:
            target = _TARGETS.get(fault.reaction, UpdateState.FAILED)
            if target in TRANSITIONS[state.update_state]:
                event = _failure_event(target, fault, state.attempt)
                self.machine.transition(
                    target, event, fault=fault, edit=lambda latest: set_last_wait_code(latest, fault)
                )
            if target is UpdateState.FAILED:
                self.machine.return_to_idle()
        return UpdateResult(
            "waiting" if fault.reaction is Reaction.WAIT else "failed",
            fault.code,
            version=state.current.version if state.current else None,
            code=fault.code,
            detail=fault.detail,
            retry_after_s=int(getattr(fault, "retry_after_s", 0)),
        )


_TARGETS = {Reaction.WAIT: UpdateState.WAITING, Reaction.RETRY: UpdateState.PAUSED}


def _failure_event(target: UpdateState, fault: ContractError, attempt: Attempt) -> EventState | None:
    """The event to send: silence would count as a failure, but a repeated reason to wait is sent only once."""
    if target is not UpdateState.FAILED:
        if attempt.last_wait_code == fault.code:
            return None
        return "acknowledged" if target is UpdateState.WAITING else "downloading"
    return "rejected" if fault.number // 1000 == POLICY_CODES else "failed"
