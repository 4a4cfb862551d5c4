"""Previews: what a rollout would do, before anything starts."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query

from service.api.rollouts.mappers import filled, rollout_of
from service.api.dependencies import Held, Now, Process, ReadOnly, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.schemas.previews import CompletionView, PreviewView, SavedBody
from service.api.problems import RESPONSES
from service.api.schemas.rollouts import RolloutBody
from service.operations.rollouts import drafts, records
from service.serving.previews import completion, preview

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)

Key = Annotated[str, Path(max_length=64, description="Id or name of the rollout.")]
MOST_LISTED = 10_000
DesiredConfig = Annotated[
    dict[str, Any],
    Body(
        description='What `POST /v1/admin/rollouts` takes, or `{"rollout": NAME}` for one that is written down.'
    ),
]


@router.post("/preview", summary="What a rollout would do")
def preview_rollout(
    body: DesiredConfig,
    session: ReadOnly,
    held: Held,
    caller: Viewer,
    now: Now,
    devices: Annotated[int, Query(ge=0, le=MOST_LISTED, description="How many of stage one to name.")] = 100,
) -> PreviewView:
    """From the fleet as known: devices per stage, version and path, bytes, time, memory. Nothing is written down."""
    if "rollout" in body:
        row = records.require(session, SavedBody.model_validate(body).rollout)
    else:
        declared = rollout_of(filled(session, RolloutBody.model_validate(body)))
        row = drafts.build_row(session, declared, actor=caller.name, now=now)
    # Somebody who has just made a cohort or a version wants to see them; polls would within a second.
    held.snapshots.refresh()
    found = preview.preview(
        session, held.snapshots.current, row, now=now, settings=_settings(held), listed_devices=devices
    )
    return PreviewView.model_validate(found)


@router.get("/{key}/forecast", summary="When it will be done")
def forecast_rollout(key: Key, session: ReadOnly, held: Held, _caller: Viewer, now: Now) -> CompletionView:
    """Devices and bytes left, and when they are done at the pace of the last hour. Counts the fleet anew."""
    row = records.require(session, key)
    found = completion.forecast_completion(session, held.snapshots.current, row, now=now, settings=_settings(held))
    return CompletionView.model_validate(found)


def _settings(held: Process) -> preview.PreviewSettings:
    return preview.PreviewSettings(
        poll_interval=timedelta(seconds=held.settings.poll_interval_s),
        patch_wait=timedelta(seconds=held.settings.patch_wait_s),
    )
