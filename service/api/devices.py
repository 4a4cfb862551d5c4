"""Devices as operators see them."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query

from sdk_contract.documents import DeviceId
from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.problems import RESPONSES
from service.api.schemas import ActBody, AttributesBody, DeviceView
from service.operations import devices
from service.operations.views import device_view

router = APIRouter(prefix="/v1/admin/devices", tags=["devices"], responses=RESPONSES)

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
    return [DeviceView.model_validate(device_view(session, row)) for row in rows]


@router.get("/{device_id}", summary="One device")
def get_device(device_id: Id, session: ReadOnly, _caller: Viewer) -> DeviceView:
    """Its attributes and what it runs."""
    return DeviceView.model_validate(device_view(session, devices.require(session, device_id)))


@router.put("/{device_id}/attributes", summary="Set what an operator knows")
def set_attributes(
    device_id: Id, body: AttributesBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """Outranks what the device says of itself."""
    row = devices.set_attributes(session, device_id, body.attributes, actor=caller.name, now=now)
    return DeviceView.model_validate(device_view(session, row))


@router.post("/{device_id}/{verb}", summary="Accept, suspend, decommission")
def act_on_device(
    device_id: Id, verb: Verb, body: ActBody, session: Transaction, caller: ReleaseManager, now: Now
) -> DeviceView:
    """A suspended device keeps what it runs and gets nothing new."""
    row = devices.change_status(
        session, device_id, verb.value, actor=caller.name, reason=body.reason, now=now
    )
    return DeviceView.model_validate(device_view(session, row))
