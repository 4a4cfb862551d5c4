"""Previews: what a rollout would do, before anything starts."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query

from service.api.declarations import filled, rollout_of
from service.api.dependencies import Held, Now, Process, ReadOnly, Viewer
from service.api.idempotency import IdempotentRoute
from service.api.preview_schemas import OutlookView, PreviewView, SavedBody
from service.api.problems import RESPONSES
from service.api.rollout_schemas import RolloutBody
from service.operations import rollouts
from service.serving import outlook, preview

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)

Key = Annotated[str, Path(max_length=64, description="Id or name of the rollout.")]
MOST_LISTED = 10_000
Wanted = Annotated[
    dict[str, Any],
    Body(
        description='What `POST /v1/admin/rollouts` takes, or `{"rollout": NAME}` for one that is written down.'
    ),
]


@router.post("/preview", summary="What a rollout would do")
def preview_rollout(
    body: Wanted,
    session: ReadOnly,
    held: Held,
    caller: Viewer,
    now: Now,
    devices: Annotated[int, Query(ge=0, le=MOST_LISTED, description="How many of stage one to name.")] = 100,
) -> PreviewView:
    """From the fleet as known: devices per stage, version and path, bytes, time, memory. Nothing is written down."""
    if "rollout" in body:
        row = rollouts.require(session, SavedBody.model_validate(body).rollout)
    else:
        declared = rollout_of(filled(session, RolloutBody.model_validate(body)))
        row = rollouts.drafted(session, declared, actor=caller.name, now=now)
    # Somebody who has just made a cohort or a version wants to see them; polls would within a second.
    held.snapshots.refresh()
    found = preview.preview(
        session, held.snapshots.current, row, now=now, settings=_settings(held), listed=devices
    )
    return PreviewView.model_validate(found)


@router.get("/{key}/outlook", summary="When it will be done")
def outlook_of_rollout(key: Key, session: ReadOnly, held: Held, _caller: Viewer, now: Now) -> OutlookView:
    """Devices and bytes left, and when they are done at the pace of the last hour. Counts the fleet anew."""
    row = rollouts.require(session, key)
    found = outlook.outlook(session, held.snapshots.current, row, now=now, settings=_settings(held))
    return OutlookView.model_validate(found)


def _settings(held: Process) -> preview.Settings:
    return preview.Settings(
        poll=timedelta(seconds=held.settings.poll_interval_s),
        patch_wait=timedelta(seconds=held.settings.patch_wait_s),
    )
