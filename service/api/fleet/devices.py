"""Devices as operators see them."""

import asyncio
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from sdk_contract.documents import DeviceId
from service import database
from service.api.dependencies import Admin, Config, Held, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.schemas.devices import (
    AttributesBody,
    ClearedFailuresView,
    ClearFailuresBody,
    DeviceView,
    KeyBody,
    SharedSecretView,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.base import ActBody
from service.api.schemas.explain import WhyView
from service.errors import Conflict
from service.operations.fleet import devices, enrollment
from service.serving.polls import explainer

router = APIRouter(
    prefix="/v1/admin/devices", tags=["devices"], responses=RESPONSES, route_class=IdempotentRoute
)

Id = Annotated[DeviceId, Path(description="Id of the device.")]


class Verb(StrEnum):
    """What can be done to a device."""

    ACCEPT = "accept"
    SUSPEND = "suspend"
    DECOMMISSION = "decommission"


@router.get("", summary="Devices")
def list_devices(
    session: ReadOnly,
    _caller: Viewer,
    after: Annotated[str, Query(max_length=128, description="Go on behind this id.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[DeviceView]:
    """In order of their id; ask again with the last one as `after`."""
    rows = devices.list_page(session, after=after, limit=limit)
    return [DeviceView.model_validate(devices.view(session, row)) for row in rows]


@router.get("/{device_id}", summary="One device")
def get_device(device_id: Id, session: ReadOnly, _caller: Viewer) -> DeviceView:
    """Its attributes and what it runs."""
    return DeviceView.model_validate(devices.view(session, devices.require(session, device_id)))


@router.get("/{device_id}/why", summary="Why it gets what it gets")
async def why_device(
    device_id: Id,
    held: Held,
    _caller: Viewer,
    now: Now,
    model: Annotated[str | None, Query(max_length=63)] = None,
) -> WhyView:
    """What its next poll would say, by the same code, and how each rollout came to its part of it."""

    def look() -> explainer.DeviceRecord:
        with database.read_only(held.engine) as session:
            row = devices.require(session, device_id)
            runs = {item.model: item.version for item in devices.installations(session, device_id)}
            before = devices.previous_versions(session, device_id)
            return explainer.DeviceRecord(row.id, row.status, row.attributes, runs, before)

    known = await asyncio.to_thread(look)
    async with held.async_engine.connect() as connection:
        asked = explainer.DecisionExplainer(held.snapshots.current, held.poll_service.settings, connection, held.poll_service.peek_demand)
        return WhyView.model_validate(await asked.explain(known, model, now))


@router.put("/{device_id}/attributes", summary="Set what an operator knows")
def set_attributes(
    device_id: Id, body: AttributesBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """Outranks what the device says of itself."""
    row = devices.set_attributes(session, device_id, body.attributes, actor=caller.name, now=now)
    return DeviceView.model_validate(devices.view(session, row))


@router.post("/{device_id}/key", summary="Decide on a new key")
def decide_key(
    device_id: Id, body: KeyBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """A device that enrolls again with another key asks for this; the old key stays good until it is accepted."""
    row = enrollment.review_key(
        session, device_id, body.key_id, accept=body.accept, actor=caller.name, reason=body.reason, now=now
    )
    return DeviceView.model_validate(devices.view(session, row))


@router.post("/{device_id}/secret", status_code=201, summary="Give a device a shared secret")
def issue_secret(
    device_id: Id, session: Transaction, caller: Admin, settings: Config, now: Now
) -> SharedSecretView:
    """For devices too small to sign; a secret that it had before ends at once."""
    if settings.hmac_secret is None or "hmac" not in settings.device_auth:
        raise Conflict(
            "shared secrets are switched off here; see GRAYLAG_DEVICE_AUTH and GRAYLAG_HMAC_SECRET"
        )
    server_secret = settings.hmac_secret.get_secret_value().encode()
    secret = enrollment.issue_secret(session, device_id, server_secret, actor=caller.name, now=now)
    return SharedSecretView(device_id=device_id, secret=secret.hex())


@router.post("/{device_id}/clear-failures", summary="Let it try again what it failed")
def clear_device_failures(
    device_id: Id, body: ClearFailuresBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ClearedFailuresView:
    """Its failures so far count no more, and its next offer says that it may try a version that failed on it."""
    models = devices.clear_failures(session, device_id, body.model, actor=caller.name, reason=body.reason, now=now)
    return ClearedFailuresView(device_id=device_id, models=list(models))


@router.post("/{device_id}/{verb}", summary="Accept, suspend, decommission")
def act_on_device(
    device_id: Id, verb: Verb, body: ActBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """A suspended device keeps what it runs and gets nothing new."""
    row = devices.change_status(
        session, device_id, verb.value, actor=caller.name, reason=body.reason, now=now
    )
    return DeviceView.model_validate(devices.view(session, row))
