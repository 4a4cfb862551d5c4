"""Whom a rollout reaches, as things stand: by cohort, percentage, control group, state, and what has to be run first."""

from collections.abc import Mapping

from sdk_contract.wire import Reason
from service.domain.catalogue import Line, Rollout, Version
from service.domain.cohorts import admits, bucket
from service.domain.decisions import Facts

_SILENT: Mapping[str, Reason] = {"paused": "paused", "halted": "halted", "scheduled": "no_rollout"}
"""States without offers. A device that waits through a pause keeps what it has downloaded; after a halt it need not."""


def unreached(rollout: Rollout, facts: Facts, stage: int | None) -> Reason | None:
    """Why the rollout does not reach the device as things stand, if that is so."""
    if stage is None:
        return "not_in_cohort"
    if is_held_back(rollout, facts.device_id):
        return "held_back"
    if rollout.state in _SILENT:
        return _SILENT[rollout.state]
    if rollout.state != "completed" and stage > rollout.stage:
        return "not_in_stage"
    return None


def watershed(line: Line, current: Version | None, facts: Facts) -> Version | None:
    """The version that the device has to run before anything newer; none for one that has no model yet."""
    if facts.current is None and not facts.components:
        return None
    return line.watershed_above(current)


def is_held_back(rollout: Rollout, device_id: str) -> bool:
    """Whether the device is of the control group: the buckets from the top, the last that any stage would reach."""
    share = rollout.policy.holdback_percent
    return share > 0 and not admits(100 - share, bucket(rollout.salt, device_id))


def admitting_stage(rollout: Rollout, facts: Facts) -> int | None:
    """The first stage, open or not, whose cohort and percentage the device is in."""
    place = bucket(rollout.salt, facts.device_id)
    for index, stage in enumerate(rollout.stages):
        if admits(stage.percent, place) and stage.matches(facts.device_id, facts.attributes):
            return index
    return None


def gives(rollout: Rollout, facts: Facts) -> bool:
    """Whether a rollout stands by its version for this device, even if it pauses."""
    stage = admitting_stage(rollout, facts)
    if stage is None or is_held_back(rollout, facts.device_id):
        return False
    return rollout.state == "completed" or (rollout.state in {"running", "paused"} and stage <= rollout.stage)
