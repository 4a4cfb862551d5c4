"""What gates evaluate, read from the counts, and the details of an evaluation as JSON. Reads only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.gates import metrics
from service.domain.gates.definitions import Gate, MetricGate
from service.domain.gates.gate_evaluation import CohortClass
from service.domain.gates.metrics import ArmMoments, Moments
from service.domain.gates.observations import Observations
from service.domain.gates.outcome_counts import OutcomeCounts
from service.domain.gates.stage_evaluation import StageEvaluation
from service.domain.rollouts import lifecycle
from service.domain.targeting import device_classes

MAX_EVIDENCE = 1e6
_COUNT_NAMES = tuple(field.name for field in fields(OutcomeCounts))


def observations(session: Session, row: store.rollouts.RolloutRow, gates: Sequence[Gate]) -> Observations:
    """All reports of the devices of a rollout, without the counts that were excluded when a class was resumed."""
    counts = store.gates.outcome_counts(session, row.id)
    outcomes = {key: OutcomeCounts(**found) for key, found in counts.items()}
    if lifecycle.awaits_activation(row.policy, row.activated_at):
        # Before activation, a staged version is the only success that a device can report.
        for key, count in store.gates.staged(session, row.id).items():
            outcomes[key] = outcomes.get(key, OutcomeCounts()).plus(OutcomeCounts(committed=count))
    names = sorted({gate.metric for gate in gates if isinstance(gate, MetricGate)})
    values = metric_values(session, row, names) if names else {}
    everything = Observations(outcomes, values, _selection_counts(session, row))
    excluded = [entry["excluded_counts"] for entry in row.paused_classes if "excluded_counts" in entry]
    return _subtract(everything, excluded)


def paused_classes(row: store.rollouts.RolloutRow) -> frozenset[str]:
    """The device classes that are paused now."""
    return device_classes.paused_classes(row.paused_classes)


def metric_values(
    session: Session, row: store.rollouts.RolloutRow, names: Sequence[str]
) -> dict[str, dict[CohortClass, ArmMoments]]:
    """Return metric -> (cohort, device class) -> moments of both arms."""
    cohorts = {stage.ordinal: stage.cohort for stage in row.stages}
    # Summing plain numbers first turns a thousand rows into a few hundred objects instead of several thousand.
    sums: dict[tuple[str, CohortClass], list[int]] = defaultdict(lambda: [0] * 6)
    for metric, stage, device_class, arm, *numbers in store.metrics.metric_totals(session, row.id, names):
        both = sums[metric, (cohorts.get(stage, ""), device_class)]
        for place, number in enumerate(numbers, 0 if arm == "treatment" else 3):
            both[place] += number
    found: dict[str, dict[CohortClass, ArmMoments]] = defaultdict(dict)
    for (metric, key), both in sums.items():
        found[metric][key] = ArmMoments(Moments(*both[:3]), Moments(*both[3:]))
    return dict(found)


def excluded_counts(session: Session, row: store.rollouts.RolloutRow, device_class: str) -> dict[str, Any]:
    """The present counts of a device class as JSON, to be subtracted from later observations."""
    counts = store.gates.outcome_counts(session, row.id)
    values = metric_values(session, row, store.metrics.reported_metrics(session, row.id))
    return {
        "outcomes": [[stage, name, found] for (stage, name), found in counts.items() if name == device_class],
        "values": [
            [metric, *key, asdict(arms)]
            for metric, by_key in values.items()
            for key, arms in by_key.items()
            if key[1] == device_class
        ],
    }


def details(evaluation: StageEvaluation, observed: Observations, paused: frozenset[str]) -> dict[str, Any]:
    """The numbers behind an evaluation as JSON."""
    counts = evaluation.stage_counts
    late_failures = counts.failures_for("failure_rate") - counts.early_failures
    return {
        "gate_results": [
            # Certainty is infinite evidence, which JSON cannot express.
            asdict(result) | {"evidence": min(result.evidence, MAX_EVIDENCE)}
            for result in evaluation.gate_results
        ],
        "outcomes": {name: getattr(counts, name) for name in _COUNT_NAMES},
        "coverage": counts.coverage,
        "early": _rate(counts.early_failures, counts.early_reports),
        "late": _rate(late_failures, counts.reports - counts.early_reports),
        "paused_classes": sorted(paused),
        "device_classes": _by_device_class(observed),
    }


def metric_summary(session: Session, row: store.rollouts.RolloutRow) -> dict[str, Any]:
    """All metrics that devices of a rollout have reported, per arm, with or without a gate on them."""
    found = metric_values(session, row, store.metrics.reported_metrics(session, row.id))
    totals = {metric: _total(by_key) for metric, by_key in found.items()}
    return {
        metric: {"treatment": _arm_summary(arms.treatment), "control": _arm_summary(arms.control)}
        for metric, arms in totals.items()
    }


def _arm_summary(moments: Moments) -> dict[str, Any]:
    return {
        "devices": moments.count,
        "geometric_mean": moments.geometric_mean if moments.count else None,
    }


def _by_device_class(observed: Observations) -> dict[str, dict[str, int]]:
    totals = {name: own.total() for name, own in observed.by_device_class().items()}
    return {
        name: {"reports": total.reports, "failures": total.failures_for("failure_rate")}
        for name, total in totals.items()
    }


def _total(by_key: Mapping[CohortClass, ArmMoments]) -> ArmMoments:
    total = ArmMoments()
    for arms in by_key.values():
        total = total.plus(arms)
    return total


def _rate(failures: int, reports: int) -> dict[str, Any]:
    return {"reports": reports, "failure_rate": failures / reports if reports else None}


def _selection_counts(session: Session, row: store.rollouts.RolloutRow) -> dict[float, tuple[int, int]]:
    """Return selection probability -> (selected devices, other devices)."""
    found: dict[float, tuple[int, int]] = {}
    for bucket, side, count in store.metrics.selection_counts(session, row.id):
        probability = bucket / metrics.ADMISSION_STEPS
        selected, others = found.get(probability, (0, 0))
        found[probability] = (selected + count, others) if side == "in" else (selected, others + count)
    return found


def _subtract(everything: Observations, excluded: Sequence[Mapping[str, Any]]) -> Observations:
    outcomes = dict(everything.outcomes)
    values = {metric: dict(by_key) for metric, by_key in everything.values.items()}
    for entry in excluded:
        for stage, device_class, counts in entry["outcomes"]:
            key = stage, device_class
            outcomes[key] = outcomes.get(key, OutcomeCounts()).minus(OutcomeCounts(**counts))
        for metric, cohort, device_class, arms in entry["values"]:
            by_key = values.get(metric, {})
            if (cohort, device_class) in by_key:
                taken = ArmMoments(Moments(**arms["treatment"]), Moments(**arms["control"]))
                by_key[cohort, device_class] = by_key[cohort, device_class].minus(taken)
    return Observations(outcomes, values, everything.admissions)
