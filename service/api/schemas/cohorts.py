"""Request and response bodies of cohorts."""

from datetime import datetime
from typing import Any

from pydantic import Field

from sdk_contract.documents import DeviceId
from service.api.schemas.base import Body, View


class CohortBody(Body):
    """A part of the fleet: the devices that match the rule, and those on the list.

    Attributes:
        rule: absent for the list alone; `{}` matches all devices.
        devices: ids of the listed devices; null leaves the list unchanged.
    """

    rule: dict[str, Any] | None = None
    devices: list[DeviceId] | None = Field(default=None, max_length=200_000)
    description: str = Field(default="", max_length=1000)


class CohortView(View):
    """A cohort.

    Attributes:
        listed_devices: number of devices on its list.
    """

    name: str
    description: str
    rule: dict[str, Any] | None
    listed_devices: int
    updated_at: datetime


class CohortSizeView(View):
    """The number of devices in a cohort.

    Attributes:
        silent: how many of `devices` have not polled for a week.
    """

    name: str
    devices: int
    silent: int
