"""The arms of a comparison: devices with the new version, and similar devices that chance left out.

Only devices that the hash excluded are in the control arm: they are in the cohort of an open stage, and outside its
percentage or in the holdout. A device that was admitted and has not updated yet is in neither arm, since devices that
update slowly differ from the others and would make the new version look good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.domain.catalog import Rollout
from service.domain.targeting.buckets import admits, bucket

Arm = Literal["treatment", "control"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """How the hash of a rollout assigned a device.

    Attributes:
        stage: index of the first open stage whose cohort the device is in.
        admitted: the hash admits the device to the new version.
        admission_probability: the probability of that, 0 to 1.
    """

    stage: int
    admitted: bool
    admission_probability: float


def assign(rollout: Rollout, device_id: str, attributes: Mapping[str, Any]) -> Assignment | None:
    """Return how a rollout assigned a device; None if the device is in no open stage's cohort."""
    open_stages = len(rollout.stages) if rollout.state == "completed" else rollout.stage + 1
    matching = [
        (index, stage.percent)
        for index, stage in enumerate(rollout.stages[:open_stages])
        if stage.matches(device_id, attributes)
    ]
    if not matching:
        return None
    widest = max(percent for _, percent in matching)
    # The holdout is made of the last buckets, so the smaller bound holds.
    percent = min(widest, 100 - rollout.policy.holdout_percent)
    admitted = admits(percent, bucket(rollout.salt, device_id))
    return Assignment(matching[0][0], admitted, percent / 100)


def arm_of(rollout: Rollout, assignment: Assignment, current: str | None) -> Arm | None:
    """Return the arm of a device that runs the version labeled `current`; None for neither."""
    if current == rollout.version.label:
        return "treatment"
    return None if assignment.admitted else "control"
