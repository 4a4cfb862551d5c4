"""Gates of rollouts: what they say, what they said, and what a person releases."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.gate_schemas import GatesView, ReleaseBody, VerdictView
from service.api.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.rollout_schemas import RolloutView
from service.api.rollouts import Key
from service.operations import rollout_gates
from service.operations.views import rollout_view

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)


@router.get("/{key}/gates", summary="What the gates of a rollout say now")
def get_gates(key: Key, session: ReadOnly, _caller: Viewer, now: Now) -> GatesView:
    """Looked at anew, with the figures behind it; nothing follows from asking."""
    return GatesView.model_validate(rollout_gates.gates_now(session, key, now=now))


@router.get("/{key}/verdicts", summary="What the gates of a rollout have said")
def list_verdicts(
    key: Key, session: ReadOnly, _caller: Viewer, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[VerdictView]:
    """Newest first: one whenever outcome or cause changed, and every few minutes while counts moved."""
    return [VerdictView.model_validate(row) for row in rollout_gates.verdicts(session, key, limit=limit)]


@router.post("/{key}/release", summary="Let a class of device have the version again")
def release_stratum(
    key: Key, body: ReleaseBody, session: Transaction, caller: ReleaseManager, now: Now
) -> RolloutView:
    """What it has reported so far is forgiven; gates go on looking at what it reports from now on."""
    row = rollout_gates.release(
        session, key, body.stratum, actor=caller.name, reason=body.reason, now=now
    )  # fmt: skip
    return RolloutView.model_validate(rollout_view(session, row))
