"""Request and response bodies of devices."""

from datetime import datetime
from typing import Any

from pydantic import Field

from sdk_contract.documents import KeyId, Name
from sdk_contract.wire import AttributeValue
from service.api.schemas.base import Body, View


class InstallationView(View):
    """The version of a model that a device has installed.

    Attributes:
        version: label as last reported; null if unknown.
        seen_at: time of that report.
    """

    model: str
    version: str | None
    seen_at: datetime


class DeviceView(View):
    """A device.

    Attributes:
        status: `pending`, `accepted`, `suspended` or `decommissioned`.
        attributes: as the device last reported them.
        admin_attributes: set by an operator; they override `attributes`.
        seen_at: time of its last poll.
        key_id: id of its public key; absent for a device with a shared secret.
        pending_key_id: id of the new key that it has requested and that an operator has to accept.
        models: the models that it is served; absent for all.
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
    """Whose failures to clear.

    Attributes:
        model: name of one model; absent for all.
    """

    model: Name | None = None
    reason: str = Field(default="", max_length=1000)


class ClearedFailuresView(View):
    """The models whose failed versions the device may retry."""

    device_id: str
    models: list[str]


class DeviceAttributesBody(Body):
    """The attributes of a device that an operator sets."""

    attributes: dict[Name, AttributeValue] = Field(max_length=64)


class KeyReviewBody(Body):
    """The decision about the key that a device has requested.

    Attributes:
        key_id: id of the pending key, so that a key requested in the meantime is not accepted by mistake.
    """

    key_id: KeyId
    accept: bool
    reason: str = Field(default="", max_length=1000)


class SharedSecretView(View):
    """The shared secret of a device, 32 bytes in hexadecimal; only this response contains it."""

    device_id: str
    secret: str
