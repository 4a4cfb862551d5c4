"""The stages of a rollout, as release managers define them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from service.domain.gates.definitions import MetricGate, StageRequirements, parse_gate
from service.errors import InvalidGate, InvalidStages

MAX_STAGES = 20


def check_stages(
    stages: Sequence[Mapping[str, Any]], *, metrics: Collection[str] | None = (), holdout: float = 0
) -> None:
    """Refuse stages that do not widen, and gates that are invalid.

    Args:
        stages: JSON of the stages.
        metrics: metrics that the model's devices report beyond the standard ones; None if the model is not known yet.
        holdout: percentage of the fleet that never gets the version.

    Raises:
        InvalidStages: there is no stage or too many, or a percentage is outside (0, 100] or does not widen its cohort.
        InvalidGate: a gate is invalid, or compares with control although no device is left out.
    """
    if not 0 < len(stages) <= MAX_STAGES:
        raise InvalidStages(
            f"a rollout must have 1 to {MAX_STAGES} stages, not {len(stages)}", field="stages"
        )
    widest: dict[str, float] = {}
    for index, stage in enumerate(stages):
        cohort, percent = stage["cohort"], stage["percent"]
        _check_percent(cohort, percent, widest.get(cohort, 0), f"stages.{index}.percent")
        widest[cohort] = percent
        for position, raw in enumerate(stage.get("gates", [])):
            path = f"stages.{index}.gates.{position}"
            gate = parse_gate(raw, path, metrics)
            if isinstance(gate, MetricGate) and gate.against_control:
                _require_control_arm(stages[: index + 1], holdout, path)


def stage_requirements(raw: Mapping[str, Any]) -> StageRequirements:
    """Parse the `advance_when` of a stage, which was checked before."""
    return StageRequirements(
        raw.get("minutes", 0), raw.get("reports", 1), raw.get("approval", False), raw.get("min_coverage", 0)
    )


def _check_percent(cohort: str, percent: float, widest: float, path: str) -> None:
    if not 0 < percent <= 100:
        raise InvalidStages(f"{percent} is not a percentage above 0 and up to 100", field=path)
    if percent <= widest:
        raise InvalidStages(
            f"{percent} % of {cohort} does not widen the {widest:g} % of an earlier stage; use a higher percentage",
            field=path,
        )


def _require_control_arm(stages: Sequence[Mapping[str, Any]], holdout: float, path: str) -> None:
    """Chance must leave out some devices, or there is no control arm to compare with."""
    if not holdout and all(stage["percent"] >= 100 for stage in stages):
        raise InvalidGate(
            "no device would be left to compare with; set policy.holdout_percent, or a percent below 100 in this "
            "stage or an earlier one",
            field=f"{path}.against",
        )
