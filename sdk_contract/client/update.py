"""One update from poll to commit: the steps of `states.py`, each on disk before it acts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sdk_contract.client import files, reports
from sdk_contract.client.activation import Activation
from sdk_contract.client.asking import Asker
from sdk_contract.client.errors import KnownBad, Superseded
from sdk_contract.client.factory import bring_back
from sdk_contract.client.gather import Gather, OrderChanged
from sdk_contract.client.outcome import Outcome, Status
from sdk_contract.client.record import Attempt, InPlaceStep, Record, Release
from sdk_contract.client.states import ON_RESTART, TRANSITIONS, Restart, State, require
from sdk_contract.client.steps import Steps, disk_fault, now
from sdk_contract.client.verify import Order
from sdk_contract.documents import Component
from sdk_contract.errors import ContractError, MixedVersions, Reaction
from sdk_contract.wire import EventState

CHANGES_OF_MIND = 3
POLICY = 5
"""Thousands digit of codes that say "we will not" rather than "we cannot"."""
_FOR_NOW = frozenset({"degraded", "paced", "paused", "outside_window", "patch_building", "awaits_activation"})
"""Reasons that will pass: what was downloaded is kept for the next order."""
_OVER = frozenset(
    {State.IDLE, State.APPLYING, State.ACTIVATING, State.PROBATION, State.COMMITTED, State.ROLLING_BACK}
)


@dataclass(slots=True)
class Update:
    """One run: whatever a restart left undone, then a poll, then what follows from it."""

    steps: Steps
    asker: Asker
    gather: Gather
    activation: Activation
    _carrying_out: bool = False

    def run(self) -> Outcome:
        """Do it.

        Returns:
            What happened; faults of network, server, disk and model are outcomes, not exceptions.

        Raises:
            Busy: another process updates here.
            StateDamaged: the record cannot be read.
        """
        with self.steps.store.exclusive():
            outcome = self._named(self._resume_or_poll)
            reports.flush_quietly(self.steps.store, self.asker.api)
        meter = self.steps.meter
        return replace(
            outcome,
            bytes_downloaded=meter.received,
            bytes_wasted=meter.wasted,
            next_poll_s=self.steps.store.read().next_poll_s,
        )

    def _named(self, step: Callable[[], Outcome]) -> Outcome:
        """Run a step; give whatever stops it a name and a place in the record."""
        try:
            try:
                return step()
            except OSError as error:
                raise disk_fault(error) from error
        except ContractError as fault:
            return self._noted(fault)

    def _noted(self, fault: ContractError) -> Outcome:
        """Write down why we stop; on a disk that refuses even that, the next start finds the last step instead."""
        try:
            return self._stopped(fault)
        except OSError as error:
            refusal = disk_fault(error)
            status: Status = "waiting" if refusal.reaction is Reaction.WAIT else "failed"
            return Outcome(status, refusal.code, code=refusal.code, detail=f"{refusal}, after {fault}")

    def _resume_or_poll(self) -> Outcome:
        record = self.steps.store.read()
        restart = Restart.POLL if record.waiting else ON_RESTART[record.state]
        if restart in (Restart.ACTIVATE, Restart.JUDGE, Restart.ROLL_BACK):
            outcome = self.activation.run()
            return self._recalled(outcome) if outcome.status == "probation" else outcome
        if restart is Restart.SETTLE:
            self.steps.settle()
        self.steps.store.collect(self.steps.store.read())  # what an interrupted clean-up left
        order = self.asker.poll()
        return self._follow_to_the_end(order)

    def _recalled(self, outcome: Outcome) -> Outcome:
        """Ask during probation too: the server may have seen on other devices what we have not."""
        order = self.asker.poll()
        if order.directive.action != "rollback":
            return outcome
        self.activation.go_back(Superseded("the server rolls this version back"))
        return self._follow_to_the_end(order)

    def _follow_to_the_end(self, order: Order) -> Outcome:
        self._carrying_out = True
        for _ in range(CHANGES_OF_MIND):
            try:
                return self._follow(order)
            except OrderChanged as change:
                order = change.order
        return self._follow(order)

    def _follow(self, order: Order) -> Outcome:
        record = self.steps.store.read()
        if order.release is None:
            return self._nothing_to_install(order, record)
        if record.current == order.release:
            return self._confirm(order, order.release)
        if record.waiting and _same(record.attempt, order) and not self.steps.store.missing(order.release):
            return self._switch_or_wait(order)
        self._begin(order, order.release)
        bad = record.bad.get(order.release.manifest_sha256)
        if bad and not order.directive.ext.get("retry"):
            raise KnownBad(f"{order.release.version} failed here: {bad}")
        self._stage(order, order.release)
        return self._switch_or_wait(order)

    def _switch_or_wait(self, order: Order) -> Outcome:
        """What is staged stays staged while the server says so; its word is on disk, for a start without a network."""
        record = self.steps.store.change(lambda entry: _note_held(entry, held=order.held))
        if order.held and record.state is State.STAGED:
            running = record.current.version if record.current else None
            return Outcome("waiting", "awaits_activation", version=running)
        return self.activation.run()

    def _nothing_to_install(self, order: Order, record: Record) -> Outcome:
        action, reason = order.directive.action, order.directive.reason
        if record.attempt is not None and action == "none" and reason not in _FOR_NOW:
            self.steps.move(State.CANCELLED, "superseded")
            self.steps.settle()
        return Outcome(
            "up_to_date" if reason == "up_to_date" else "hold" if action == "hold" else "none",
            reason,
            version=record.current.version if record.current else None,
        )

    def _confirm(self, order: Order, release: Release) -> Outcome:
        """What is offered runs already: the server lost our report, so it gets another."""

        def step(record: Record) -> None:
            if record.attempt is None or record.attempt.attempt_id != order.directive.attempt_id:
                record.attempt = _new_attempt(order, release)
            reports.note(record, "committed")
            record.attempt, record.state = None, State.IDLE

        self.steps.store.change(step)
        return Outcome("up_to_date", "up_to_date", release.version)

    def _begin(self, order: Order, release: Release) -> None:
        """Take the order on: the manifest is kept, an older attempt ends, the floor rises."""
        store = self.steps.store
        files.replace(store.files, store.manifests / release.manifest_sha256, order.manifest_envelope)

        def step(record: Record) -> None:
            require(record.state, State.OFFERED)
            record.state = State.OFFERED
            record.floor = max(record.floor, order.floor)
            if _same(record.attempt, order):
                _note_held(record, held=order.held)
                return
            if record.attempt is not None:
                reports.note(record, "superseded")
            record.attempt = _new_attempt(order, release)
            reports.note(record, "acknowledged")

        store.collect(store.change(step))

    def _stage(self, order: Order, release: Release) -> None:
        """Have every component here and proved; what is here already is read and compared, not trusted."""
        store = self.steps.store
        missing = self._from_the_app(self._missing(release))
        steps: list[InPlaceStep] = []
        if missing:
            self.gather.low_storage = self.gather.low_storage and not order.held
            steps = self.gather.fetch(order, missing)
            self.steps.move(State.VERIFYING, "downloaded")
        if set(store.missing(release)) != {step.name for step in steps}:
            raise MixedVersions("a component vanished while others were fetched")
        if steps:
            self.steps.move(State.APPLYING, edit=lambda record: _plan(record, steps))
            return
        store.installed(release)
        self.steps.move(State.STAGED, "staged")

    def _missing(self, release: Release) -> list[Component]:
        """Components to get; each that is here is read once per attempt, not again after every pause."""
        store, proved = self.steps.store, set(self.steps.attempt().proved)
        here = [part for part in release.components if store.has(part.sha256, part.size)]
        fresh = [part for part in here if part.sha256 not in proved and store.intact(part.sha256, part.size)]
        if fresh:
            store.change(lambda record: _note_proved(record, fresh))
        proved |= {part.sha256 for part in fresh}
        return [part for part in release.components if part not in here or part.sha256 not in proved]

    def _from_the_app(self, missing: list[Component]) -> list[Component]:
        """What is still missing once the files that shipped inside the app have been looked at."""
        folder = self.asker.configuration.factory
        if folder is None or not missing:
            return missing
        found = bring_back(self.steps.store, Path(folder), missing)
        if found:
            self.steps.store.change(lambda record: _note_proved(record, found))
        return [part for part in missing if part not in found]

    def _stopped(self, fault: ContractError) -> Outcome:
        """Wait and retry keep the attempt and its files; all else ends it, and is reported.

        A poll that fails, or is answered by a forger, ends nothing: it was not the attempt that failed.
        """
        record = self.steps.store.read()
        if self._carrying_out and record.attempt is not None and record.state not in _OVER:
            target = _TARGETS.get(fault.reaction, State.FAILED)
            if target in TRANSITIONS[record.state]:
                event = _event_of(target, fault, record.attempt)
                self.steps.move(target, event, fault=fault, edit=lambda entry: _hinder(entry, fault))
            if target is State.FAILED:
                self.steps.settle()
        return Outcome(
            "waiting" if fault.reaction is Reaction.WAIT else "failed",
            fault.code,
            version=record.current.version if record.current else None,
            code=fault.code,
            detail=fault.detail,
            retry_after_s=int(getattr(fault, "retry_after_s", 0)),
        )


_TARGETS = {Reaction.WAIT: State.WAITING, Reaction.RETRY: State.PAUSED}


def _event_of(target: State, fault: ContractError, attempt: Attempt) -> EventState | None:
    """What the server hears: silence would count as a failure, the same hindrance at every poll as noise."""
    if target is not State.FAILED:
        if attempt.hindrance == fault.code:
            return None
        return "acknowledged" if target is State.WAITING else "downloading"
    return "rejected" if fault.number // 1000 == POLICY else "failed"


def _same(attempt: Attempt | None, order: Order) -> bool:
    return (
        attempt is not None
        and attempt.attempt_id == order.directive.attempt_id
        and attempt.release == order.release
    )


def _note_held(record: Record, *, held: bool) -> None:
    if record.attempt is not None:
        record.attempt.held = held


def _hinder(record: Record, fault: ContractError) -> None:
    if record.attempt is not None:
        record.attempt.hindrance = fault.code


def _note_proved(record: Record, parts: list[Component]) -> None:
    if record.attempt is not None:
        record.attempt.proved += [part.sha256 for part in parts]


def _plan(record: Record, steps: list[InPlaceStep]) -> None:
    if record.attempt is not None:
        record.attempt.in_place = steps


def _new_attempt(order: Order, release: Release) -> Attempt:
    return Attempt(
        attempt_id=order.directive.attempt_id,
        release=release,
        rollback=order.directive.action == "rollback",
        held=order.held,
        started_at=now(),
    )
