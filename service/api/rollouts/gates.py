"""Gates of rollouts: what they say, what they said, and what a person releases."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.schemas.gates import GateEvaluationView, GatesView, ResumeClassBody
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.rollouts import RolloutView
from service.api.rollouts.rollouts import Key
from service.operations.rollouts.views import rollout_view
from service.operations.rollouts import gates

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)


@router.get("/{key}/gates", summary="What the gates of a rollout say now")
def get_gates(key: Key, session: ReadOnly, _caller: Viewer, now: Now) -> GatesView:
    """Looked at anew, with the figures behind it; nothing follows from asking."""
    return GatesView.model_validate(gates.current_status(session, key, now=now))


@router.get("/{key}/gate-history", summary="What the gates of a rollout have said")
def list_gate_history(
    key: Key, session: ReadOnly, _caller: Viewer, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[GateEvaluationView]:
    """Newest first: one whenever outcome or cause changed, and every few minutes while counts moved."""
    return [GateEvaluationView.model_validate(row) for row in gates.gate_history(session, key, limit=limit)]


@router.post("/{key}/resume-class", summary="Let a class of device have the version again")
def resume_class(
    key: Key, body: ResumeClassBody, session: Transaction, caller: ReleaseManager, now: Now
) -> RolloutView:
    """What it has reported so far is forgiven; gates go on looking at what it reports from now on."""
    row = gates.resume_class(
        session, key, body.device_class, actor=caller.name, reason=body.reason, now=now
    )  # fmt: skip
    return RolloutView.model_validate(rollout_view(session, row))
