"""What devices call. Async, and answered from memory where it can be."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter
from starlette.types import Receive, Scope

from sdk_contract.wire import (
    MAX_EVENTS,
    EnrollRequest,
    Event,
    EventsResponse,
    ModelInfo,
    PollRequest,
    PollResponse,
    TokenRequest,
    TokenResponse,
    TrustResponse,
)
from service import database, tokens
from service.api.dependencies import Body, Credentials, Held, Now, Process, arrival, count_address
from service.api.middleware.fast_path import Answered, Shortcut
from service.api.problems import RESPONSES
from service.errors import DeviceMismatch, DeviceSuspended, Invalid, Unauthorized
from service.operations.fleet import devices, enrollment
from service.serving.checkins import Checkin
from service.serving.events.ingest import EventBatch
from service.serving.polls.context import AuthenticatedPoll, select_model

router = APIRouter(tags=["device"], responses=RESPONSES)

_EVENTS = TypeAdapter(list[Event])
MAX_TRUST_BUNDLES = 64
POLL, EVENTS = "/v1/model/update", "/v1/model/events"


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that the handler reads itself, since small devices omit the content type."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.get(
    "/v1/model/info", dependencies=[Depends(count_address)], summary="The newest fully released version"
)
async def model_info(held: Held, model: Annotated[str | None, Query(max_length=63)] = None) -> ModelInfo:
    """Public: tells no more than what every device may run."""
    line = select_model(held.snapshots.current, model)
    version = line.newest_released()
    return ModelInfo(
        model=line.name,
        version=version.label if version else None,
        counter=version.counter if version else None,
        released_at=version.ready_at.isoformat() if version and version.ready_at else None,
    )


@router.post(
    POLL,
    summary="May I have something new?",
    response_model=PollResponse,
    openapi_extra=_json_body(PollRequest.model_json_schema()),
)
async def poll(request: Request, _shown: Credentials = None) -> Response:
    """Decide for one device; the signed `directive` is the authority, the plain fields a convenience."""
    return await _shortly(answer_poll, request)


@router.post(
    EVENTS,
    status_code=202,
    summary="What became of it",
    response_model=EventsResponse,
    openapi_extra=_json_body({"type": "array", "maxItems": MAX_EVENTS, "items": Event.model_json_schema()}),
)
async def events(request: Request, _shown: Credentials = None) -> Response:
    """Take in at most 50 reports; a report that comes twice changes nothing."""
    return await _shortly(answer_events, request)


async def answer_poll(held: Process, scope: Scope, receive: Receive) -> Answered:
    """`poll`, without the framework."""
    came = await arrival(held, scope, receive, write=False)
    asked = PollRequest.model_validate_json(came.body)
    _require_self(asked.device_id, came.caller.device_id)
    return 200, await held.poll_service.respond(AuthenticatedPoll(asked, came.body, came.caller, came.now))


async def answer_events(held: Process, scope: Scope, receive: Receive) -> Answered:
    """`events`, without the framework."""
    came = await arrival(held, scope, receive, write=True)
    reports = _EVENTS.validate_json(came.body)
    if len(reports) > MAX_EVENTS:
        raise Invalid(f"at most {MAX_EVENTS} events at a time", field="body")
    now, device_id = came.now, came.caller.device_id
    lease_until = now + timedelta(seconds=held.settings.attempt_lease_s)
    receipt = await held.event_writer.submit(EventBatch(device_id, reports, now, lease_until))
    held.gate_trigger.notify(receipt.affected_rollouts)
    for model, version_id in receipt.committed:
        _note_installed(held, device_id, model, version_id, now)
    return 202, b'{"accepted":%d,"duplicates":%d}' % (receipt.accepted, receipt.duplicates)


async def _shortly(answer: Shortcut, request: Request) -> Response:
    held: Process = request.app.state.process
    status, body = await answer(held, request.scope, request.receive)
    return Response(body, status_code=status, media_type="application/json")


SHORTCUTS: dict[str, Shortcut] = {POLL: answer_poll, EVENTS: answer_events}
"""What almost all requests are; see `door`."""


@router.post(
    "/v1/device/enroll",
    dependencies=[Depends(count_address)],
    status_code=201,
    summary="Let a device in",
    openapi_extra=_json_body(EnrollRequest.model_json_schema()),
)
async def enroll(body: Body, held: Held, now: Now) -> TokenResponse:
    """Enroll with an enrollment token and a key of the device's own; saying it again changes nothing."""
    request = EnrollRequest.model_validate_json(body)

    def run() -> tuple[str, list[str] | None]:
        with database.transaction(held.engine) as session:
            row = enrollment.enroll(
                session, request, auto_accept_devices=held.settings.auto_accept_devices, now=now
            )
            return enrollment.status_for_key(row, request), row.models

    status, models = await asyncio.to_thread(run)
    return _token_answer(held, request.device_id, status, models, now)


@router.post(
    "/v1/device/token",
    dependencies=[Depends(count_address)],
    summary="A fresh access token",
    openapi_extra=_json_body(TokenRequest.model_json_schema()),
)
async def token(body: Body, held: Held, now: Now) -> TokenResponse:
    """Exchange an assertion, signed with the device's own key, for an access token."""
    request = TokenRequest.model_validate_json(body)
    device_id = tokens.unverified_subject(request.assertion)

    def find() -> tuple[bytes, str, list[str] | None] | None:
        with database.read_only(held.engine) as session:
            row = devices.find(session, device_id)
            return (row.public_key, row.status, row.models) if row and row.public_key else None

    found = await asyncio.to_thread(find)
    if found is None:
        raise Unauthorized("the device is not known here, or its key is another one")
    public_key, status, models = found
    jti = tokens.verify_device_assertion(request.assertion, public_key, now)
    await held.replay_cache.require_first_use(
        f"assertion:{device_id}:{jti}", ttl_s=2 * tokens.MAX_ASSERTION_LIFETIME_S, field="assertion"
    )
    return _token_answer(held, device_id, status, models, now)


@router.get(
    "/v1/trust",
    dependencies=[Depends(count_address)],
    summary="Trust bundles that follow the one at hand",
    response_model=TrustResponse,
)
async def trust(held: Held, after: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> Response:
    """The chain above a version, oldest first, as signed; public."""
    chain = [envelope for version, envelope in held.snapshots.current.trust_chain if version > after]
    body = b'{"bundles":[' + b",".join(chain[:MAX_TRUST_BUNDLES]) + b"]}"
    return Response(body, media_type="application/json")


def _require_self(named: str, caller: str) -> None:
    if named != caller:
        raise DeviceMismatch("device_id is not the one that the token is for", field="device_id")


def _token_answer(
    held: Process, device_id: str, status: str, models: list[str] | None, now: datetime
) -> TokenResponse:
    seconds = int(now.timestamp())
    if status == "pending":
        return TokenResponse(status="pending", server_time=seconds)
    if status in ("suspended", "decommissioned"):
        raise DeviceSuspended(f"this device is {status}")
    issued = held.access_tokens.issue(device_id, {}, now, models=models)
    return TokenResponse(
        status="accepted",
        access_token=issued,
        expires_in=held.access_tokens.lifetime_s,
        server_time=seconds,
    )


def _note_installed(held: Process, device_id: str, model: str, version_id: int, now: datetime) -> None:
    line = held.snapshots.current.models.get(model)
    label = next((v.label for v in line.versions.values() if v.id == version_id), None) if line else None
    if label is not None:
        held.checkins.record(Checkin(device_id, model, label, {}, now))
