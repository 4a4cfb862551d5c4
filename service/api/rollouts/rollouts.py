"""Routes of rollouts."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.api.dependencies import Notifier, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.rollouts.mappers import rollout_declaration
from service.api.schemas.base import ReasonBody
from service.api.schemas.rollouts import RolloutBody, RolloutView
from service.operations.rollouts import actions, drafts, records
from service.operations.rollouts.views import rollout_view

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)

Key = Annotated[str, Path(max_length=64, description="Id or name of the rollout.")]


class Action(StrEnum):
    """A transition of a rollout."""

    START = "start"
    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ACTIVATE = "activate"
    HALT = "halt"
    ROLLBACK = "rollback"
    CANCEL = "cancel"


@router.get("", summary="List rollouts")
def list_rollouts(
    session: ReadOnly, _caller: Viewer, model: Annotated[str | None, Query(max_length=63)] = None
) -> list[RolloutView]:
    """Return the newest 100 rollouts, newest first."""
    rows = records.list_all(session, model=model)
    return [RolloutView.model_validate(rollout_view(session, row)) for row in rows]


@router.post("", status_code=201, summary="Create a rollout")
def create_rollout(body: RolloutBody, session: Transaction, caller: ReleaseManager, now: Now) -> RolloutView:
    """Create a draft. Devices are offered nothing before `start`. Omitted fields come from `template`."""
    row = drafts.create(session, rollout_declaration(session, body), actor=caller.name, now=now)
    return RolloutView.model_validate(rollout_view(session, row))


@router.get("/{key}", summary="Get a rollout")
def get_rollout(key: Key, session: ReadOnly, _caller: Viewer) -> RolloutView:
    """Return the state of a rollout, the outcomes per stage, and the history."""
    return RolloutView.model_validate(rollout_view(session, records.require(session, key)))


@router.post("/{key}/{verb}", summary="Change the state of a rollout")
def transition_rollout(
    key: Key,
    verb: Action,
    body: ReasonBody,
    session: Transaction,
    notifier: Notifier,
    caller: ReleaseManager,
    now: Now,
) -> RolloutView:
    """Apply a verb to a rollout.

    - `start` opens the first stage, or waits for approvals, the start time or the rollback patches.
    - `approve` adds the approval of one person, who must not be the author.
    - `pause` stops new offers; `resume` continues.
    - `promote` opens the next stage now, or completes the rollout after the last one.
    - `activate` lets devices activate the version that they have downloaded (`activation: deferred`).
    - `halt` ends the rollout and withdraws open offers.
    - `rollback` also restores the previous version on devices that have installed this one.
    - `cancel` ends a rollout that has not started.

    `halt` and `rollback` need a `reason`, and so does `promote` before the requirements of the stage are met.
    """
    row = actions.perform(session, notifier, key, verb.value, actor=caller.name, reason=body.reason, now=now)
    return RolloutView.model_validate(rollout_view(session, row))
