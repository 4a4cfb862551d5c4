"""Routes of the device API."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import TypeAdapter
from starlette.types import Receive, Scope

from sdk_contract.wire import (
    MAX_EVENTS,
    EnrollRequest,
    Event,
    ModelInfo,
    PollRequest,
    TokenRequest,
    TokenResponse,
    TrustResponse,
)
from service.api.dependencies import (
    AppState,
    Body,
    Now,
    State,
    authenticate_request,
    count_address,
)
from service.api.middleware.fast_path import RawHandler, RawResponse
from service.api.problems import RESPONSES
from service.errors import DeviceMismatch, DeviceSuspended, Invalid, Unauthorized
from service.infrastructure import database, tokens
from service.operations.fleet import devices, enrollment
from service.serving.checkins import Checkin
from service.serving.events.ingest import EventBatch
from service.serving.polls.context import AuthenticatedPoll, select_model

router = APIRouter(tags=["device"], responses=RESPONSES)

_EVENTS = TypeAdapter(list[Event])
MAX_TRUST_BUNDLES = 64
"""Bundles in one response of `/v1/trust`."""
POLL, EVENTS = "/v1/model/update", "/v1/model/events"


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that the handler parses itself, because small devices omit the content type."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.get(
    "/v1/model/info", dependencies=[Depends(count_address)], summary="Get the newest fully released version"
)
async def model_info(state: State, model: Annotated[str | None, Query(max_length=63)] = None) -> ModelInfo:
    """Return the newest version that a completed rollout offers to all devices. Public."""
    served = select_model(state.snapshots.current, model)
    version = served.newest_released()
    return ModelInfo(
        model=served.name,
        version=version.label if version else None,
        counter=version.counter if version else None,
        released_at=version.ready_at.isoformat() if version and version.ready_at else None,
    )


async def handle_poll(state: AppState, scope: Scope, receive: Receive) -> RawResponse:
    """Decide one poll. The signed `directive` is the authority; the plain fields are a convenience."""
    request = await authenticate_request(state, scope, receive, write=False)
    poll = PollRequest.model_validate_json(request.body)
    _require_same_device(poll.device_id, request.caller.device_id)
    authenticated = AuthenticatedPoll(poll, request.body, request.caller, request.now)
    return 200, await state.poll_service.respond(authenticated)


async def handle_events(state: AppState, scope: Scope, receive: Receive) -> RawResponse:
    """Store a batch of at most 50 events. A repeated event changes nothing."""
    request = await authenticate_request(state, scope, receive, write=True)
    events = _EVENTS.validate_json(request.body)
    if len(events) > MAX_EVENTS:
        raise Invalid(
            f"the body has {len(events)} events; send at most {MAX_EVENTS} in one request", field="body"
        )
    now, device_id = request.now, request.caller.device_id
    lease_until = now + timedelta(seconds=state.settings.attempt_lease_s)
    result = await state.event_writer.submit(EventBatch(device_id, events, now, lease_until))
    state.gate_trigger.notify(result.affected_rollouts)
    for model, version_id in result.committed:
        _record_installation(state, device_id, model, version_id, now)
    return 202, b'{"accepted":%d,"duplicates":%d}' % (result.accepted, result.duplicates)


RAW_HANDLERS: dict[str, RawHandler] = {POLL: handle_poll, EVENTS: handle_events}
"""Path -> handler of its POST requests; see `middleware.fast_path`."""


@router.post(
    "/v1/device/enroll",
    dependencies=[Depends(count_address)],
    status_code=201,
    summary="Enroll a device",
    openapi_extra=_json_body(EnrollRequest.model_json_schema()),
)
async def enroll(body: Body, state: State, now: Now) -> TokenResponse:
    """Enroll with an enrollment token and the device's own key. A repeated request changes nothing."""
    request = EnrollRequest.model_validate_json(body)

    def store() -> tuple[str, list[str] | None]:
        with database.transaction(state.engine) as session:
            row = enrollment.enroll(
                session, request, auto_accept_devices=state.settings.auto_accept_devices, now=now
            )
            return enrollment.status_for_key(row, request), row.models

    status, models = await asyncio.to_thread(store)
    return _token_response(state, request.device_id, status, models, now)


@router.post(
    "/v1/device/token",
    dependencies=[Depends(count_address)],
    summary="Get an access token",
    openapi_extra=_json_body(TokenRequest.model_json_schema()),
)
async def token(body: Body, state: State, now: Now) -> TokenResponse:
    """Exchange an assertion, signed with the device's own key, for an access token."""
    request = TokenRequest.model_validate_json(body)
    device_id = tokens.unverified_subject(request.assertion)

    def read_device() -> tuple[bytes, str, list[str] | None] | None:
        with database.read_only(state.engine) as session:
            row = devices.find(session, device_id)
            return (row.public_key, row.status, row.models) if row and row.public_key else None

    device = await asyncio.to_thread(read_device)
    if device is None:
        raise Unauthorized("the device is not enrolled here, or it signed with another key; enroll it again")
    public_key, status, models = device
    jti = tokens.verify_device_assertion(request.assertion, public_key, now)
    await state.replay_cache.require_first_use(
        f"assertion:{device_id}:{jti}", ttl_s=2 * tokens.MAX_ASSERTION_LIFETIME_S, field="assertion"
    )
    return _token_response(state, device_id, status, models, now)


@router.get(
    "/v1/trust",
    dependencies=[Depends(count_address)],
    summary="Get the trust bundles after a version",
    response_model=TrustResponse,
)
async def trust(state: State, after: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> Response:
    """Return the signed trust bundles after a version, oldest first, at most 64. Public."""
    chain = [envelope for version, envelope in state.snapshots.current.trust_chain if version > after]
    body = b'{"bundles":[' + b",".join(chain[:MAX_TRUST_BUNDLES]) + b"]}"
    return Response(body, media_type="application/json")


def _require_same_device(device_id: str, authenticated_id: str) -> None:
    if device_id != authenticated_id:
        raise DeviceMismatch(
            "the credential belongs to another device; use the device's own credential", field="device_id"
        )


def _token_response(
    state: AppState, device_id: str, status: str, models: list[str] | None, now: datetime
) -> TokenResponse:
    server_time = int(now.timestamp())
    if status == "pending":
        return TokenResponse(status="pending", server_time=server_time)
    if status in ("suspended", "decommissioned"):
        raise DeviceSuspended(f"this device is {status}; ask the operator of the fleet")
    return TokenResponse(
        status="accepted",
        access_token=state.access_tokens.issue(device_id, {}, now, models=models),
        expires_in=state.access_tokens.lifetime_s,
        server_time=server_time,
    )


def _record_installation(state: AppState, device_id: str, model: str, version_id: int, now: datetime) -> None:
    served = state.snapshots.current.models.get(model)
    versions = served.versions.values() if served else ()
    label = next((version.label for version in versions if version.id == version_id), None)
    if label is not None:
        state.checkins.record(Checkin(device_id, model, label, {}, now))
