"""Bodies of the admin API on devices."""

from datetime import datetime
from typing import Any

from pydantic import Field

from sdk_contract.documents import KeyId, Name
from sdk_contract.wire import AttributeValue
from service.api.schemas.base import Body, View


class InstallationView(View):
    """What a device runs of a model."""

    model: str
    version: str | None
    seen_at: datetime


class DeviceView(View):
    """A device.

    Attributes:
        key_id: of the key that it signs with; absent for a device with a shared secret.
        pending_key_id: of the key that it asks to sign with from now on.
        models: the only ones that it is served; absent for all.
    """

    id: str
    status: str
    attributes: dict[str, Any]
    admin_attributes: dict[str, Any]
    enrolled_at: datetime
    seen_at: datetime | None
    key_id: str | None = None
    pending_key_id: str | None = None
    models: list[str] | None = None
    installations: list[InstallationView] = Field(default_factory=list)


class ClearFailuresBody(Body):
    """Let a device try again what it failed.

    Attributes:
        model: absent for all that it has failed.
    """

    model: Name | None = None
    reason: str = Field(default="", max_length=1000)


class ClearedFailuresView(View):
    """Of which models a device may try again what it failed."""

    device_id: str
    models: list[str]


class AttributesBody(Body):
    """What an operator knows about a device."""

    attributes: dict[Name, AttributeValue] = Field(max_length=64)


class KeyBody(Body):
    """An operator's word on the key that a device asked for; the id is that of the pending key."""

    key_id: KeyId
    accept: bool
    reason: str = Field(default="", max_length=1000)


class SharedSecretView(View):
    """The shared secret of a device, 32 bytes in hex; it is shown this once."""

    device_id: str
    secret: str
