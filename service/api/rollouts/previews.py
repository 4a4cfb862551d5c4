"""Routes of previews and forecasts of rollouts."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query

from service.api.dependencies import AppState, Now, ReadOnly, State, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.rollouts.mappers import rollout_declaration
from service.api.schemas.previews import CompletionView, ExistingRolloutBody, PreviewView
from service.api.schemas.rollouts import RolloutBody
from service.operations.rollouts import drafts, records
from service.serving.previews import completion, preview

router = APIRouter(
    prefix="/v1/admin/rollouts", tags=["rollouts"], responses=RESPONSES, route_class=IdempotentRoute
)

Key = Annotated[str, Path(max_length=64, description="Id or name of the rollout.")]
MAX_LISTED_DEVICES = 10_000
PreviewBody = Annotated[
    dict[str, Any],
    Body(
        description='The body of `POST /v1/admin/rollouts`, or `{"rollout": NAME}` for an existing rollout.'
    ),
]


@router.post("/preview", summary="Preview a rollout")
def preview_rollout(
    body: PreviewBody,
    session: ReadOnly,
    state: State,
    caller: Viewer,
    now: Now,
    devices: Annotated[
        int,
        Query(ge=0, le=MAX_LISTED_DEVICES, description="How many devices of the first stage to list."),
    ] = 100,
) -> PreviewView:
    """Estimate the reached devices per stage and version, the bytes, the duration and the memory. Nothing is stored."""
    if "rollout" in body:
        row = records.require(session, ExistingRolloutBody.model_validate(body).rollout)
    else:
        declaration = rollout_declaration(session, RolloutBody.model_validate(body))
        row = drafts.build_row(session, declaration, actor=caller.name, now=now)
    # The preview must include a cohort or version that was created a moment ago.
    state.snapshots.refresh()
    return PreviewView.model_validate(
        preview.preview(
            session, state.snapshots.current, row, now=now, settings=_settings(state), listed_devices=devices
        )
    )


@router.get("/{key}/forecast", summary="Forecast the completion of a rollout")
def forecast_rollout(key: Key, session: ReadOnly, state: State, _caller: Viewer, now: Now) -> CompletionView:
    """Count the devices and bytes that remain, and estimate the completion from the rate of the last hour."""
    row = records.require(session, key)
    return CompletionView.model_validate(
        completion.forecast_completion(
            session, state.snapshots.current, row, now=now, settings=_settings(state)
        )
    )


def _settings(state: AppState) -> preview.PreviewSettings:
    return preview.PreviewSettings(
        poll_interval=timedelta(seconds=state.settings.poll_interval_s),
        patch_wait=timedelta(seconds=state.settings.patch_wait_s),
    )
