"""Rollouts: a version on its way to the fleet."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.api.rollouts.mappers import filled, rollout_of
from service.api.dependencies import JobBell, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.rollouts import RolloutBody, RolloutView
from service.api.schemas.base import ActBody
from service.operations.rollouts.views import rollout_view
from service.operations.rollouts import actions, drafts, records

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)

Key = Annotated[str, Path(max_length=64, description="Id or name of the rollout.")]


class Verb(StrEnum):
    """What can be done to a rollout."""

    START = "start"
    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ACTIVATE = "activate"
    HALT = "halt"
    ROLLBACK = "rollback"
    CANCEL = "cancel"


@router.get("", summary="Rollouts")
def list_rollouts(
    session: ReadOnly, _caller: Viewer, model: Annotated[str | None, Query(max_length=63)] = None
) -> list[RolloutView]:
    """The newest 100, newest first."""
    rows = records.list_all(session, model=model)
    return [RolloutView.model_validate(rollout_view(session, row)) for row in rows]


@router.post("", status_code=201, summary="Write a rollout down")
def create_rollout(body: RolloutBody, session: Transaction, caller: ReleaseManager, now: Now) -> RolloutView:
    """Nothing reaches a device before `start`. What the body leaves out comes from its `template`."""
    declaration = rollout_of(filled(session, body))
    row = drafts.create(session, declaration, actor=caller.name, now=now)
    return RolloutView.model_validate(rollout_view(session, row))


@router.get("/{key}", summary="One rollout")
def get_rollout(key: Key, session: ReadOnly, _caller: Viewer) -> RolloutView:
    """Where it stands, what came back per stage, and its history."""
    return RolloutView.model_validate(rollout_view(session, records.require(session, key)))


@router.post("/{key}/{verb}", summary="Do something to a rollout")
def act_on_rollout(
    key: Key, verb: Verb, body: ActBody, session: Transaction, notifier: JobBell, caller: ReleaseManager, now: Now
) -> RolloutView:
    """What each verb means, and in which states it applies.

    `start` opens the first stage, or waits for approvals, its time or its rehearsal; `approve` is one person's word
    (never the author's); `pause` stops new offers, `resume` goes on; `promote` opens the next stage now, or
    completes; `activate` lets devices switch that have staged (`activation: deferred`); `halt` stops for good and
    withdraws what is open; `rollback` also brings back devices that have installed it; `cancel` drops what has not
    started. `halt`, `rollback`, and `promote` past a hold, need a `reason`.
    """
    row = actions.perform(session, notifier, key, verb.value, actor=caller.name, reason=body.reason, now=now)
    return RolloutView.model_validate(rollout_view(session, row))
