"""Routes of devices, for operators."""

import asyncio
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from sdk_contract.documents import DeviceId
from service.api.dependencies import Admin, Config, Now, ReadOnly, ReleaseManager, State, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.base import ReasonBody
from service.api.schemas.devices import (
    ClearedFailuresView,
    ClearFailuresBody,
    DeviceAttributesBody,
    DeviceView,
    KeyReviewBody,
    SharedSecretView,
)
from service.api.schemas.explain import WhyView
from service.operations.fleet import devices, enrollment
from service.serving.polls import explainer

router = APIRouter(
    prefix="/v1/admin/devices", tags=["devices"], responses=RESPONSES, route_class=IdempotentRoute
)

Id = Annotated[DeviceId, Path(description="Id of the device.")]


class Action(StrEnum):
    """A change of a device's status."""

    ACCEPT = "accept"
    SUSPEND = "suspend"
    DECOMMISSION = "decommission"


@router.get("", summary="List devices")
def list_devices(
    session: ReadOnly,
    _caller: Viewer,
    after: Annotated[str, Query(max_length=128, description="Return devices after this id.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[DeviceView]:
    """Return a page of devices, by id. For the next page, send the last id as `after`."""
    rows = devices.list_page(session, after=after, limit=limit)
    return [DeviceView.model_validate(devices.view(session, row)) for row in rows]


@router.get("/{device_id}", summary="Get a device")
def get_device(device_id: Id, session: ReadOnly, _caller: Viewer) -> DeviceView:
    """Return the status and attributes of a device, and the versions that it has installed."""
    return DeviceView.model_validate(devices.view(session, devices.require(session, device_id)))


@router.get("/{device_id}/why", summary="Explain the next poll of a device")
async def explain_device(
    device_id: Id,
    state: State,
    _caller: Viewer,
    now: Now,
    model: Annotated[str | None, Query(max_length=63)] = None,
) -> WhyView:
    """Return the decision on the device's next poll, and how each rollout contributes to it.

    The code that decides polls makes this decision, too.
    """
    record = await asyncio.to_thread(explainer.read_device_record, state.engine, device_id)
    async with state.async_engine.connect() as connection:
        decision_explainer = explainer.DecisionExplainer(
            state.snapshots.current, state.poll_service.settings, connection, state.poll_service.peek_demand
        )
        return WhyView.model_validate(await decision_explainer.explain(record, model, now))


@router.put("/{device_id}/attributes", summary="Set the operator's attributes of a device")
def set_device_attributes(
    device_id: Id, body: DeviceAttributesBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """Replace the operator's attributes; they override those that the device reports."""
    row = devices.set_attributes(session, device_id, body.attributes, actor=caller.name, now=now)
    return DeviceView.model_validate(devices.view(session, row))


@router.post("/{device_id}/key", summary="Accept or reject a requested key")
def review_device_key(
    device_id: Id, body: KeyReviewBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """A device that enrolls again with another key requests a change of its key; until then the old key stays valid."""
    row = enrollment.review_key(
        session, device_id, body.key_id, accept=body.accept, actor=caller.name, reason=body.reason, now=now
    )
    return DeviceView.model_validate(devices.view(session, row))


@router.post("/{device_id}/secret", status_code=201, summary="Issue a shared secret to a device")
def issue_device_secret(
    device_id: Id, session: Transaction, caller: Admin, settings: Config, now: Now
) -> SharedSecretView:
    """For devices that cannot sign. An earlier secret of the device becomes invalid at once."""
    secret = enrollment.issue_secret(session, device_id, settings.device_hmac_key, actor=caller.name, now=now)
    return SharedSecretView(device_id=device_id, secret=secret.hex())


@router.post("/{device_id}/clear-failures", summary="Clear the failures of a device")
def clear_device_failures(
    device_id: Id, body: ClearFailuresBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ClearedFailuresView:
    """Earlier failures no longer count, and the next offer permits the device to retry a version that it has failed."""
    models = devices.clear_failures(
        session, device_id, body.model, actor=caller.name, reason=body.reason, now=now
    )
    return ClearedFailuresView(device_id=device_id, models=list(models))


@router.post("/{device_id}/{verb}", summary="Accept, suspend or decommission a device")
def change_device_status(
    device_id: Id, verb: Action, body: ReasonBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """A suspended device keeps its installed versions and is offered no new ones."""
    row = devices.change_status(
        session, device_id, verb.value, actor=caller.name, reason=body.reason, now=now
    )
    return DeviceView.model_validate(devices.view(session, row))
