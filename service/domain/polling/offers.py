"""The decision on a poll: what a device gets, and why.

Every refusal has a reason. The same function answers polls and explains them to operators.
"""

from dataclasses import replace
from datetime import UTC, datetime

from service.domain.catalog import ModelView, Rollout, Version
from service.domain.polling.decisions import Decision, DecisionTime, DeviceContext
from service.domain.polling.deliveries import (
    choose_variant,
    plan_deliveries,
    should_wait_for_patch,
    wanted_components,
)
from service.domain.polling.eligibility import admitting_stage, covers, ineligibility_reason, next_barrier
from service.domain.polling.revocation_targets import leave_revoked_version
from service.domain.polling.rollback_targets import rollback_targets
from service.domain.polling.rollout_index import RolloutIndex, RolloutIndexes, version_refusal
from service.domain.rollouts.windows import next_opening
from service.domain.targeting.device_classes import device_class_of, effective_class

_NEVER = datetime.max.replace(tzinfo=UTC)
_DECISIVE_REFUSALS = ("patch_building", "no_variant", "outside_window")
"""Refusals after which the device waits for this rollout and gets nothing older in the meantime."""


def decide(
    model: ModelView, device: DeviceContext, time: DecisionTime, indexes: RolloutIndexes | None = None
) -> Decision:
    """Decide one poll.

    The first rollout that admits the device and has something newer decides. If there is none, the most specific
    refusal of all rollouts is the decision. A device on a revoked version is always brought to a good one.

    Args:
        model: the model, as of the snapshot.
        device: the device, as of its request.
        time: the time of the poll.
        indexes: the model's rollout indexes; None to build the index for this poll alone.
    """
    if device.blocked_status:
        return Decision("suspended")
    if model.disabled:
        return Decision("model_disabled", "pause")
    current = model.versions.get(device.current or "")
    index = indexes.index_for(current) if indexes else RolloutIndex.build(model.rollouts, current)
    decision = _decide_by_rollouts(model, index, current, device, time)
    # In every case the device would refuse to go below the floor of the version that it runs.
    if decision.version is not None and current is not None and decision.version.counter < current.floor:
        return Decision("below_floor", rollout=decision.rollout)
    return decision


def evaluate_rollout(
    model: ModelView, rollout: Rollout, current: Version | None, device: DeviceContext, time: DecisionTime
) -> Decision:
    """Return what one rollout decides for a device that runs `current`, regardless of the other rollouts."""
    stage = admitting_stage(rollout, device)
    refusal = version_refusal(rollout, current) or ineligibility_reason(rollout, device, stage)
    if refusal is not None or stage is None:
        return Decision(refusal or "not_in_cohort", rollout=rollout)
    if rollout.paused_classes and _is_class_paused(rollout, device):
        return Decision("device_class_paused", rollout=rollout, stage=stage)
    barrier = next_barrier(model, current, device)
    if barrier is not None and barrier.counter < rollout.version.counter:
        return Decision("behind_barrier", rollout=rollout, stage=stage)
    if device.staged == rollout.version.label:
        # The device has all bytes already: windows and patches that are being built do not matter.
        return _offer(model, rollout, stage, device, replace(time, patches_requested_since=_NEVER))
    windows = rollout.policy.windows
    opening = next_opening(windows, device.attributes, time.now) if windows else None
    if opening is not None:
        return Decision("outside_window", rollout=rollout, stage=stage, retry_window=opening)
    return _offer(model, rollout, stage, device, time)


def _decide_by_rollouts(
    model: ModelView, index: RolloutIndex, current: Version | None, device: DeviceContext, time: DecisionTime
) -> Decision:
    rolled_back = _rolled_back_rollout(model, index, current, device) if index.contested else None
    if current is None or (rolled_back is None and not current.revoked):
        newer = _offer_newer_version(model, index, current, device, time)
        return newer if newer.offered else _offer_missing_components(model, current, device) or newer
    # The device must leave its version now, so it does not wait for patches that are being built.
    now = replace(time, patches_requested_since=_NEVER)
    newer = _offer_newer_version(model, index, current, device, now)
    if newer.offered:
        return newer
    if rolled_back is None:
        return leave_revoked_version(model, current, device)
    return _roll_back(model, rolled_back, device)


def _offer_newer_version(
    model: ModelView, index: RolloutIndex, current: Version | None, device: DeviceContext, time: DecisionTime
) -> Decision:
    candidates, later = index.candidates(device.device_id, device.attributes)
    refusals: list[tuple[int, Decision]] = []
    for position in candidates:
        decision = evaluate_rollout(model, model.rollouts[position], current, device, time)
        if decision.offered or decision.reason in _DECISIVE_REFUSALS:
            return decision
        refusals.append((position, decision))
    return index.refusal(refusals, later)


def _offer_missing_components(
    model: ModelView, current: Version | None, device: DeviceContext
) -> Decision | None:
    """Offer the components of the running version that the device wants and lacks; this needs no rollout."""
    if current is None or device.wanted_components is None or not device.components:
        return None
    variant = choose_variant(current, device)
    if variant is None or all(part.name in device.components for part in wanted_components(variant, device)):
        return None
    deliveries = plan_deliveries(model, device, variant)
    return Decision("update", "install", None, current, variant, 0, deliveries)


def _rolled_back_rollout(
    model: ModelView, index: RolloutIndex, current: Version | None, device: DeviceContext
) -> Rollout | None:
    """Return the rolled-back rollout because of which the device must leave its version; None if it may stay.

    The device may stay if another rollout covers it, for example an earlier one that was completed. The cohort of the
    rolled-back rollout does not matter: a device that has left it since runs the bad version too.
    """
    if current is None or current.revoked:
        return None
    contested = [model.rollouts[position] for position in index.contested]
    if any(covers(rollout, device) for rollout in contested):
        return None
    return next(rollout for rollout in contested if rollout.state == "rolled_back")


def _roll_back(model: ModelView, rolled_back: Rollout, device: DeviceContext) -> Decision:
    """Offer the first rollback target that has a variant for the device; without one the device keeps its version."""
    stage = admitting_stage(rolled_back, device) or 0
    targets = rollback_targets(model, rolled_back, came_from=device.came_from, shipped=device.shipped)
    for version in targets:
        variant = choose_variant(version, device)
        if variant is not None:
            deliveries = plan_deliveries(model, device, variant)
            return Decision("rollback", "rollback", rolled_back, version, variant, stage, deliveries)
    return Decision("rollback", "pause", rollout=rolled_back)


def _is_class_paused(rollout: Rollout, device: DeviceContext) -> bool:
    device_class = effective_class(device_class_of(device.attributes), rollout.device_classes)
    return device_class in rollout.paused_classes


def _offer(
    model: ModelView, rollout: Rollout, stage: int, device: DeviceContext, time: DecisionTime
) -> Decision:
    version = rollout.version
    variant = choose_variant(version, device)
    if variant is None:
        return Decision("no_variant", rollout=rollout, version=version)
    deferred = rollout.policy.activation == "deferred" and not rollout.activated
    if deferred and not device.supports_deferred_activation:
        # It would activate as soon as it has the bytes, so it gets them when the other devices activate.
        return Decision("awaiting_activation", rollout=rollout, version=version, stage=stage)
    deliveries = plan_deliveries(model, device, variant)
    if should_wait_for_patch(model, device, deliveries, time.patches_requested_since):
        return Decision("patch_building", rollout=rollout, version=version, variant=variant, stage=stage)
    return Decision(
        "update", "install", rollout, version, variant, stage, deliveries, activation_deferred=deferred
    )
