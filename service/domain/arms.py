"""Whose measurements are compared: devices that have the new version, and devices like them that chance left out.

Control are only devices that the hash has left out: in the cohort of an open stage, and outside its
percentage or held back. A device that was let in and has not updated yet is in neither arm: who is slow
to update is unlike who is not, and would make the new version look good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.domain.catalogue import Rollout
from service.domain.cohorts import admits, bucket

Arm = Literal["treated", "control"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rollout sees a device.

    Attributes:
        stage: the first open stage whose cohort it is in.
        admitted: whether the hash lets it have the new version.
        share: the chance that the hash had to do so, 0 to 1.
    """

    stage: int
    admitted: bool
    share: float


def standing(rollout: Rollout, device_id: str, attributes: Mapping[str, Any]) -> Standing | None:
    """How a rollout sees a device; None where it is in no open stage's cohort."""
    reached = len(rollout.stages) if rollout.state == "completed" else rollout.stage + 1
    inside = [
        (index, stage.percent)
        for index, stage in enumerate(rollout.stages[:reached])
        if stage.matches(device_id, attributes)
    ]
    if not inside:
        return None
    percent = max(percent for _, percent in inside)
    # The control group are the buckets from the top, so both bounds are one.
    within = min(percent, 100 - rollout.policy.holdback_percent)
    return Standing(inside[0][0], admits(within, bucket(rollout.salt, device_id)), within / 100)


def arm(rollout: Rollout, found: Standing, runs: str | None) -> Arm | None:
    """The arm of a device that runs the version labelled `runs`; None for neither."""
    if runs == rollout.version.label:
        return "treated"
    return None if found.admitted else "control"
