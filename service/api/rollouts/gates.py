"""Routes of the gates of rollouts, their evaluations, and paused device classes."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.rollouts.rollouts import Key
from service.api.schemas.gates import GateEvaluationView, GatesView, ResumeClassBody
from service.api.schemas.rollouts import RolloutView
from service.operations.rollouts import gates
from service.operations.rollouts.views import rollout_view

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)


@router.get("/{key}/gates", summary="Evaluate the gates of a rollout")
def get_gates(key: Key, session: ReadOnly, _caller: Viewer, now: Now) -> GatesView:
    """Evaluate the gates now, and return the counts and metrics that they use. The rollout does not change."""
    return GatesView.model_validate(gates.current_status(session, key, now=now))


@router.get("/{key}/gate-history", summary="List the gate evaluations of a rollout")
def list_gate_history(
    key: Key, session: ReadOnly, _caller: Viewer, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[GateEvaluationView]:
    """Newest first. One is stored whenever decision or cause changes, and every few minutes while counts change."""
    return [GateEvaluationView.model_validate(row) for row in gates.gate_history(session, key, limit=limit)]


@router.post("/{key}/resume-class", summary="Resume a paused device class")
def resume_device_class(
    key: Key, body: ResumeClassBody, session: Transaction, caller: ReleaseManager, now: Now
) -> RolloutView:
    """Offer the version to the class again. Its earlier reports no longer count; gates evaluate the new ones."""
    row = gates.resume_class(session, key, body.device_class, actor=caller.name, reason=body.reason, now=now)
    return RolloutView.model_validate(rollout_view(session, row))
