"""Which devices a rollout reaches: cohort, percentage, holdout, state of the rollout, barriers."""

from collections.abc import Mapping

from sdk_contract.reasons import Reason
from service.domain.catalog import ModelView, Rollout, Version
from service.domain.polling.decisions import DeviceContext
from service.domain.targeting.buckets import admits, bucket

_STATES_WITHOUT_OFFERS: Mapping[str, Reason] = {
    "paused": "paused",
    "halted": "halted",
    "scheduled": "no_rollout",
}
"""State -> reason. A device keeps a partial download through a pause; after a halt it need not."""


def ineligibility_reason(rollout: Rollout, device: DeviceContext, stage: int | None) -> Reason | None:
    """Return why the rollout does not reach the device now; None if it does.

    Args:
        rollout: the rollout.
        device: the device.
        stage: the stage that `admitting_stage` found.
    """
    if stage is None:
        return "not_in_cohort"
    if is_in_holdout(rollout, device.device_id):
        return "in_holdout"
    if rollout.state in _STATES_WITHOUT_OFFERS:
        return _STATES_WITHOUT_OFFERS[rollout.state]
    if rollout.state != "completed" and stage > rollout.stage:
        return "not_in_stage"
    return None


def next_barrier(model: ModelView, current: Version | None, device: DeviceContext) -> Version | None:
    """Return the version that the device must run before anything newer; None for a device without a model."""
    if device.current is None and not device.components:
        return None
    return model.barrier_above(current)


def is_in_holdout(rollout: Rollout, device_id: str) -> bool:
    """Return whether the device is in the holdout: the last buckets, which a stage would reach last."""
    share = rollout.policy.holdout_percent
    return share > 0 and not admits(100 - share, bucket(rollout.salt, device_id))


def admitting_stage(rollout: Rollout, device: DeviceContext) -> int | None:
    """Return the first stage, open or not, whose cohort and percentage admit the device."""
    device_bucket = bucket(rollout.salt, device.device_id)
    for index, stage in enumerate(rollout.stages):
        if admits(stage.percent, device_bucket) and stage.matches(device.device_id, device.attributes):
            return index
    return None


def covers(rollout: Rollout, device: DeviceContext) -> bool:
    """Return whether the device may run the rollout's version because of this rollout, even while it is paused."""
    stage = admitting_stage(rollout, device)
    if stage is None or is_in_holdout(rollout, device.device_id):
        return False
    return rollout.state == "completed" or (rollout.state in {"running", "paused"} and stage <= rollout.stage)
