"""Changes to the client state that transitions write: attempts, failed starts, commit and rollback."""

from sdk_contract.client.lifecycle.state_machine import unix_time
from sdk_contract.client.protocol.verification import VerifiedUpdate
from sdk_contract.client.storage.client_state import Attempt, ClientState, InPlaceStep, Release
from sdk_contract.documents import Component
from sdk_contract.errors import ContractError, Reaction

MAX_BLOCKLIST = 64
"""Versions in the blocklist, and patches in the list of failed ones; the oldest are dropped."""


def new_attempt(update: VerifiedUpdate, release: Release) -> Attempt:
    """Create the attempt for a verified update."""
    return Attempt(
        attempt_id=update.directive.attempt_id,
        release=release,
        rollback=update.directive.action == "rollback",
        activation_deferred=update.activation_deferred,
        started_at=unix_time(),
    )


def is_same_attempt(attempt: Attempt | None, update: VerifiedUpdate) -> bool:
    """Whether the update continues this attempt."""
    return (
        attempt is not None
        and attempt.attempt_id == update.directive.attempt_id
        and attempt.release == update.release
    )


def set_activation_deferred(state: ClientState, *, deferred: bool) -> None:
    """Store whether the staged release has to wait for a later directive."""
    if state.attempt is not None:
        state.attempt.activation_deferred = deferred


def set_last_wait_code(state: ClientState, fault: ContractError) -> None:
    """Store the code of the last reported reason to wait."""
    if state.attempt is not None:
        state.attempt.last_wait_code = fault.code


def add_verified_objects(state: ClientState, parts: list[Component]) -> None:
    """Mark objects as verified in this attempt."""
    if state.attempt is not None:
        state.attempt.verified_objects += [part.sha256 for part in parts]


def set_in_place_steps(state: ClientState, steps: list[InPlaceStep]) -> None:
    """Store the components that are patched in place."""
    if state.attempt is not None:
        state.attempt.in_place_steps = steps


def has_in_place_steps(state: ClientState) -> bool:
    """Whether the attempt patches files in place."""
    return state.attempt is not None and bool(state.attempt.in_place_steps)


def count_failed_start(state: ClientState) -> None:
    """Count a load or start as failed until it is confirmed."""
    if state.attempt is not None:
        state.attempt.failed_starts += 1


def discount_failed_start(state: ClientState) -> None:
    """Undo one count, for a start that ended for another reason than the model."""
    if state.attempt is not None:
        state.attempt.failed_starts = max(0, state.attempt.failed_starts - 1)


def reset_failed_starts(state: ClientState) -> None:
    """Forget the failed starts, after a confirmed start."""
    if state.attempt is not None:
        state.attempt.failed_starts = 0


def make_current(state: ClientState) -> None:
    """Make the attempt's release the current one for good, and remove it from the blocklist."""
    if state.attempt is None:
        return
    if state.current != state.attempt.release:  # after a probation it is current already
        state.previous, state.current = state.current, state.attempt.release
    if state.attempt.in_place_steps:
        state.previous = None  # its files were changed in place
    state.blocklist.pop(state.attempt.release.manifest_sha256, None)


def restore_previous(state: ClientState, fault: ContractError) -> None:
    """Make the previous release the current one again.

    The failed release is added to the blocklist, unless its patch or the disk failed.
    """
    if state.attempt is None:
        return
    if state.current == state.attempt.release:
        state.current, state.previous = state.previous, None
    if fault.reaction is Reaction.FULL_DOWNLOAD:  # the patch failed, not the version
        failed = [step.patch_sha256 for step in state.attempt.in_place_steps]
        state.failed_patches = [*state.failed_patches, *failed][-MAX_BLOCKLIST:]
    elif fault.reaction is not Reaction.WAIT:  # a full disk is not the version's fault
        state.blocklist.setdefault(state.attempt.release.manifest_sha256, fault.code)
    for oldest in list(state.blocklist)[:-MAX_BLOCKLIST]:
        del state.blocklist[oldest]
