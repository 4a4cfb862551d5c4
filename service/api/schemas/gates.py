"""Request and response bodies of gates and their evaluations."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.api.schemas.base import Body, View


class ResumeClassBody(Body):
    """The device class to resume."""

    device_class: str = Field(max_length=200)
    reason: str = Field(default="", max_length=1000)


class PausedClassView(View):
    """A device class for which a rollout is paused."""

    device_class: str
    reason: str
    since: datetime


class GateEvaluationView(View):
    """An evaluation of the gates of a rollout.

    Attributes:
        stage: index of the evaluated stage.
        decision: `advance`, `wait` or `breach`.
        cause: code of the reason; unlike `reason` it does not contain counts.
        details: `gate_results` (per gate: value, bound, reports, control, evidence, needed), `coverage`, `early` and
            `late` (failure rates of devices that reported within an hour of their offer, and of the others),
            `device_classes`.
    """

    at: datetime
    stage: int
    decision: str
    cause: str
    reason: str
    details: dict[str, Any]


class GatesView(View):
    """The current state of a rollout's gates.

    Attributes:
        evaluation: evaluation at the time of the request, which is not stored; null if the rollout is not running.
        paused_classes: device classes for which the rollout is paused.
        metrics: metric -> arm (`treatment`, `control`) -> number of devices and their geometric mean.
    """

    evaluation: GateEvaluationView | None
    paused_classes: list[PausedClassView]
    metrics: dict[str, dict[str, dict[str, float | None]]]
