"""Evaluating the gates of rollouts, and acting on the result. Writes `gate_evaluations`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from service import store
from service.domain.gates import definitions
from service.domain.gates.gate_evaluation import GateResult
from service.domain.gates.observations import Observations
from service.domain.gates.stage_evaluation import (
    APPROVAL,
    ActiveStage,
    StageEvaluation,
    evaluate_stage,
)
from service.domain.rollouts import lifecycle
from service.domain.rollouts.stages import stage_requirements
from service.errors import NotFound
from service.operations.outcomes import attempts
from service.operations.rollouts import gate_inputs
from service.operations.rollouts.records import record_event, require
from service.operations.rollouts.transitions import apply_transition

MONITORED_STATES = frozenset({"running", "completed"})
MIN_WRITE_INTERVAL = timedelta(minutes=5)
"""How often an evaluation with unchanged decision and cause is stored."""


class _Evaluated(NamedTuple):
    evaluation: StageEvaluation
    observations: Observations


def evaluate(session: Session, rollout_id: UUID, *, now: datetime) -> StageEvaluation | None:
    """Evaluate the gates of a rollout and act on the result; return None if it is not monitored.

    Completed rollouts are evaluated too, so that failures of late devices halt them. The row is locked, and evaluated
    again, only if something has to be written, because granting attempts needs the lock.
    """
    row = store.rollouts.rollout(session, rollout_id)
    found = _evaluate(session, row, now)
    if row is None or found is None or not _requires_write(session, row, found.evaluation, now):
        return found.evaluation if found else None
    row = store.rollouts.rollout(session, rollout_id, lock=True)
    found = _evaluate(session, row, now)
    if row is None or found is None:
        return None
    _pause_classes(session, row, found.evaluation.failing_classes, now)
    if _requires_record(session, row, found.evaluation, now):
        session.add(store.gates.GateEvaluationRow(rollout_id=row.id, **_entry(row, found, now)))
    if _requires_action(row, found.evaluation):
        _act_on(session, row, found.evaluation, now)
    return found.evaluation


def ready_for_promotion(session: Session, row: store.rollouts.RolloutRow, *, now: datetime) -> bool:
    """Whether all requirements of the stage are met, approval excepted."""
    found = _evaluate(session, row, now)
    if found is None:
        return False
    return found.evaluation.decision == "advance" or found.evaluation.cause == APPROVAL


def resume_class(
    session: Session, key: str, device_class: str, *, actor: str, reason: str, now: datetime
) -> store.rollouts.RolloutRow:
    """Offer the version to a paused device class again; its reports so far no longer count for gates.

    Raises:
        NotFound: there is no such rollout, or the device class is not paused in it.
    """
    row = require(session, key, lock=True)
    paused = gate_inputs.paused_classes(row)
    if device_class not in paused:
        names = ", ".join(sorted(paused)) or "none"
        raise NotFound(
            f"{device_class!r} is not paused in {row.name}; the paused device classes are: {names}",
            field="device_class",
        )
    resumed = {
        "resumed_at": now.isoformat(),
        "resumed_by": actor,
        "excluded_counts": gate_inputs.excluded_counts(session, row, device_class),
    }
    row.paused_classes = [
        entry | resumed if entry["device_class"] == device_class else entry for entry in row.paused_classes
    ]
    why = f"{device_class}: {reason}" if reason else device_class
    record_event(session, row, "resume_class", actor, now, reason=why)
    return row


def gate_history(session: Session, key: str, *, limit: int) -> Sequence[store.gates.GateEvaluationRow]:
    """The evaluations of a rollout, newest first.

    Raises:
        NotFound: there is no such rollout.
    """
    return store.gates.gate_evaluations(session, require(session, key).id, limit=limit)


def current_status(session: Session, key: str, *, now: datetime) -> dict[str, Any]:
    """Evaluate the gates of a rollout without acting; with the paused device classes and all reported metrics.

    Raises:
        NotFound: there is no such rollout.
    """
    row = require(session, key)
    found = _evaluate(session, row, now)
    return {
        "evaluation": _entry(row, found, now) if found else None,
        "paused_classes": [entry for entry in row.paused_classes if "resumed_at" not in entry],
        "metrics": gate_inputs.metric_summary(session, row),
    }


def _evaluate(session: Session, row: store.rollouts.RolloutRow | None, now: datetime) -> _Evaluated | None:
    if row is None or row.state not in MONITORED_STATES or row.stage_since is None:
        return None
    stored = row.stages[row.stage]
    parsed = [definitions.parse_gate(gate, "gate") for gate in stored.gates]
    requirements = stage_requirements(stored.advance_when)
    stage = ActiveStage(row.stage, parsed, requirements, now - row.stage_since)
    observations = gate_inputs.observations(session, row, parsed)
    evaluation = evaluate_stage(stage, observations, gate_inputs.paused_classes(row))
    return _Evaluated(evaluation, observations)


def _requires_write(
    session: Session, row: store.rollouts.RolloutRow, evaluation: StageEvaluation, now: datetime
) -> bool:
    return _requires_action(row, evaluation) or _requires_record(session, row, evaluation, now)


def _requires_action(row: store.rollouts.RolloutRow, evaluation: StageEvaluation) -> bool:
    if evaluation.failing_classes or evaluation.decision == "breach":
        return True
    return evaluation.decision == "advance" and row.state == "running" and not row.waiting_for


def _requires_record(
    session: Session, row: store.rollouts.RolloutRow, evaluation: StageEvaluation, now: datetime
) -> bool:
    """Whether an evaluation has a new result, or new counts after the minimum interval."""
    last = store.gates.last_gate_evaluation(session, row.id)
    if last is None:
        return True
    if (last.stage, last.decision, last.cause) != (row.stage, evaluation.decision, evaluation.cause):
        return True
    return last.reason != evaluation.reason and now - last.at >= MIN_WRITE_INTERVAL


def _entry(row: store.rollouts.RolloutRow, found: _Evaluated, now: datetime) -> dict[str, Any]:
    evaluation, observations = found
    return {
        "at": now,
        "stage": row.stage,
        "decision": evaluation.decision,
        "cause": evaluation.cause,
        "reason": evaluation.reason,
        "details": gate_inputs.details(evaluation, observations, gate_inputs.paused_classes(row)),
    }


def _pause_classes(
    session: Session, row: store.rollouts.RolloutRow, failing: Mapping[str, GateResult], now: datetime
) -> None:
    """Pause device classes: they get no new offers, and their open attempts are cancelled."""
    for device_class, result in failing.items():
        entry = {"device_class": device_class, "reason": result.summary, "since": now.isoformat()}
        others = [other for other in row.paused_classes if other["device_class"] != device_class]
        # A new list, because SQLAlchemy does not detect changes inside the old one.
        row.paused_classes = [*others, entry]
        attempts.cancel_device_class(session, row.id, device_class, now=now)
        why = f"{device_class}: {result.summary}"
        record_event(session, row, "pause_class", "gates", now, reason=why)


def _act_on(
    session: Session, row: store.rollouts.RolloutRow, evaluation: StageEvaluation, now: datetime
) -> None:
    if evaluation.decision == "wait" or (evaluation.decision == "advance" and row.state == "completed"):
        return
    verb = row.on_breach if evaluation.decision == "breach" else "advance"
    if verb == "advance" and row.stage == len(row.stages) - 1:
        if lifecycle.awaits_activation(row.policy, row.activated_at):
            row.waiting_for = "activation: enough devices have staged the version"
            return
        verb = "complete"
    apply_transition(session, row, verb, actor="gates", reason=evaluation.reason, now=now)
