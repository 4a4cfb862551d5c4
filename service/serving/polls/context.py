"""What a poll is decided from: the authenticated request, the settings, and the facts about the device."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sdk_contract.wire import PollRequest
from service.domain.catalog import ModelView
from service.domain.polling.decisions import DeviceContext
from service.errors import ModelRequired, UnknownModel
from service.infrastructure.tokens import DeviceClaims
from service.serving.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PollSettings:
    """The settings that polls depend on.

    Attributes:
        poll_interval_s: the usual time between two polls of a device.
        patch_wait: how long a device waits for a patch before it gets the full file.
        attempt_lease: how long an attempt may be silent before it times out.
        max_failures: how often a version may fail on a device before the device is left alone.
        staged_poll_interval_s: the longest time between two polls of a device that waits for activation.
    """

    poll_interval_s: int
    patch_wait: timedelta
    attempt_lease: timedelta
    max_failures: int = 3
    staged_poll_interval_s: int = 300


@dataclass(frozen=True, slots=True)
class AuthenticatedPoll:
    """A poll request of an authenticated device.

    Attributes:
        request: the parsed body.
        body: the bytes of the body; the directive's signature covers their digest.
        claims: who the device is, and what its token says about it.
        now: the time of the request.
    """

    request: PollRequest
    body: bytes
    claims: DeviceClaims
    now: datetime


def select_model(snapshot: Snapshot, name: str | None) -> ModelView:
    """The model that a request is about; a request may omit the name if there is only one model.

    Raises:
        UnknownModel: no model of that name is served.
        ModelRequired: the request names no model, and several are served.
    """
    if name is not None:
        if name not in snapshot.models:
            raise UnknownModel(f"there is no model {name!r}", field="model")
        return snapshot.models[name]
    if len(snapshot.models) > 1:
        raise ModelRequired("this server has several models; name one in `model`", field="model")
    if not snapshot.models:
        raise UnknownModel("this server has no model yet; publish a version first", field="model")
    return next(iter(snapshot.models.values()))


def device_context(snapshot: Snapshot, poll: AuthenticatedPoll) -> DeviceContext:
    """The facts about a device: attributes set by an operator override the token's, and those the request's."""
    request, device_id = poll.request, poll.request.device_id
    attributes = request.attributes
    from_token, from_operator = poll.claims.attributes, snapshot.overrides.get(device_id)
    if from_token or from_operator:
        attributes = {**attributes, **from_token, **(from_operator or {})}
    wanted = request.wanted_components
    return DeviceContext(
        device_id=device_id,
        attributes=attributes,
        current=request.current_version,
        components=request.components,
        wanted_components=frozenset(wanted) if wanted is not None else None,
        accepts=tuple(request.accepts),
        blocked_status=snapshot.blocked.get(device_id),
        came_from=request.previous_version,
        shipped=request.factory_version,
        supports_deferred_activation="deferred_activation" in request.features,
        staged=request.staged_version,
    )
