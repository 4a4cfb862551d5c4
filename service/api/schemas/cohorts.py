"""Bodies of the admin API about cohorts."""

from datetime import datetime
from typing import Any

from pydantic import Field

from sdk_contract.documents import DeviceId
from service.api.schemas.base import Body, View


class CohortBody(Body):
    """A part of the fleet: everyone whom the rule means, and everyone on the list."""

    rule: dict[str, Any] | None = None
    devices: list[DeviceId] | None = Field(default=None, max_length=200_000)
    description: str = Field(default="", max_length=1000)


class CohortView(View):
    """A part of the fleet."""

    name: str
    description: str
    rule: dict[str, Any] | None
    listed: int
    updated_at: datetime


class CohortSizeView(View):
    """How many devices a cohort means now.

    Attributes:
        silent: of `devices`, how many have not been heard of for a week.
    """

    name: str
    devices: int
    silent: int
