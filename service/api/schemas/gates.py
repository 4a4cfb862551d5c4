"""Bodies of the admin API about gates and what they saw."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.api.schemas.base import Body, View


class ResumeClassBody(Body):
    """Which class of device may have the version again, and why."""

    device_class: str = Field(max_length=200)
    reason: str = Field(default="", max_length=1000)


class PausedClassView(View):
    """A class of device that gets nothing new."""

    device_class: str
    reason: str
    since: datetime


class GateEvaluationView(View):
    """What the gates said, and the counts that they saw.

    Attributes:
        decision: `advance`, `wait` or `breach`.
        cause: a word for the reason that stays the same while counts grow.
        details: `gate_results` (per gate: value, bound, reports, control, evidence, needed), `coverage`, `early` and
            `late` (failure rates of devices that reported within an hour of their offer, and of the others), `device_classes`.
    """

    at: datetime
    stage: int
    decision: str
    cause: str
    reason: str
    details: dict[str, Any]


class GatesView(View):
    """The gates of a rollout as they stand now.

    Attributes:
        evaluation: of this moment, written down or not; null where nobody looks at the rollout.
        paused_classes: device classes that are held back.
        metrics: metric -> arm (`treatment`, `control`) -> number of devices and their geometric mean.
    """

    evaluation: GateEvaluationView | None
    paused_classes: list[PausedClassView]
    metrics: dict[str, dict[str, dict[str, float | None]]]
