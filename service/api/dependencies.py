"""The dependencies of handlers, as annotated types: transaction, process state, time, and the authenticated caller."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import redis.asyncio
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from sdk_contract import strict_json
from sdk_contract.errors import ContractError
from sdk_contract.wire import MAX_BODY
from service.config import Settings
from service.errors import Forbidden, Invalid, TooLarge, Unauthorized
from service.infrastructure import database
from service.infrastructure.blobs import BlobStore
from service.infrastructure.clock import Clock, utc_now
from service.infrastructure.jobs import JobNotifier
from service.infrastructure.tokens import AccessTokens, Caller, DeviceClaims, RequestBinding
from service.operations.platform import api_tokens
from service.serving.admission.load_monitor import LoadMonitor
from service.serving.admission.rate_limits import RateLimits, client_subnet
from service.serving.auth.device_auth import AUTH_HEADERS, AuthRequest, DeviceAuth, IdentityProvider
from service.serving.auth.replay_cache import ReplayCache
from service.serving.batching.write_batcher import WriteBatcher
from service.serving.checkins import CheckinBuffer
from service.serving.events.gate_trigger import GateTrigger
from service.serving.events.ingest import EventBatch, IngestResult
from service.serving.polls.service import PollService
from service.serving.snapshots.cache import SnapshotCache

_AUTH_HEADERS = tuple((name.encode(), name) for name in AUTH_HEADERS)


@dataclass(frozen=True, slots=True)
class AppState:
    """The state of one API process, created once by `lifespan`."""

    settings: Settings
    engine: Engine
    async_engine: AsyncEngine
    valkey: redis.asyncio.Redis
    blobs: BlobStore
    notifier: JobNotifier
    access_tokens: AccessTokens
    device_auth: DeviceAuth
    replay_cache: ReplayCache
    rate_limits: RateLimits
    ci_provider: IdentityProvider | None
    snapshots: SnapshotCache
    checkins: CheckinBuffer
    poll_service: PollService
    event_writer: WriteBatcher[EventBatch, IngestResult]
    gate_trigger: GateTrigger
    load_monitor: LoadMonitor
    clock: Clock = utc_now


def app_state(request: Request) -> AppState:
    """The state of the process that serves a request."""
    state: AppState = request.app.state.process
    return state


def _transaction(request: Request, state: Annotated[AppState, Depends(app_state)]) -> Iterator[Session]:
    with database.transaction(state.engine) as session:
        # `middleware.idempotency` stores the response in the same transaction.
        request.state.transaction = session
        yield session


def _read_only(state: Annotated[AppState, Depends(app_state)]) -> Iterator[Session]:
    with database.read_only(state.engine) as session:
        yield session


def _blobs(state: Annotated[AppState, Depends(app_state)]) -> BlobStore:
    return state.blobs


def _notifier(state: Annotated[AppState, Depends(app_state)]) -> JobNotifier:
    return state.notifier


def _settings(state: Annotated[AppState, Depends(app_state)]) -> Settings:
    return state.settings


def _now(state: Annotated[AppState, Depends(app_state)]) -> datetime:
    return state.clock()


State = Annotated[AppState, Depends(app_state)]
# With the default scope the response would be sent before the commit, and a failed commit would look like success.
Transaction = Annotated[Session, Depends(_transaction, scope="function")]
ReadOnly = Annotated[Session, Depends(_read_only, scope="function")]
Blobs = Annotated[BlobStore, Depends(_blobs)]
Notifier = Annotated[JobNotifier, Depends(_notifier)]
Config = Annotated[Settings, Depends(_settings)]
Now = Annotated[datetime, Depends(_now)]

_bearer = HTTPBearer(auto_error=False, description="API token, or a device's access token.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def read_body(receive: Receive) -> bytes:
    """Read the body of a device's request; its content type is ignored.

    Raises:
        TooLarge: the body is longer than 64 KiB; the rest is not read.
    """
    received = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += message.get("body", b"")
        if len(received) > MAX_BODY:
            raise TooLarge(f"the body is longer than {MAX_BODY} bytes; send less in one request")
        more = message.get("more_body", False)
    return received


async def _body(request: Request) -> bytes:
    return await read_body(request.receive)


Body = Annotated[bytes, Depends(_body)]


async def count_address(request: Request, state: State) -> None:
    """Count a request against the rate limit of its client address.

    Raises:
        TooMany: the limit is exceeded.
    """
    if request.client is not None:
        await state.rate_limits.count("address", client_subnet(request.client.host))


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """A request of a device whose credential has been verified.

    Attributes:
        body: the raw body.
        caller: the claims of the device's credential.
        now: the time of the request; all of its decisions use it.
    """

    body: bytes
    caller: DeviceClaims
    now: datetime


async def authenticate_request(
    state: AppState, scope: Scope, receive: Receive, *, write: bool
) -> AuthenticatedRequest:
    """Read a request of a device, apply the rate limits, and authenticate it.

    This does not use FastAPI's dependency injection, which takes longer than all of this together.

    Args:
        state: the state of the process.
        scope: the ASGI scope.
        receive: returns the body, in ASGI messages.
        write: whether a replay of the request would do harm. A replayed poll does none, so polls are answered
            even while the replay cache is unavailable; events are refused then.

    Raises:
        TooLarge: the body is longer than 64 KiB.
        TooMany: a rate limit is exceeded.
        Unauthorized: the credential is missing or invalid.
        DeviceSuspended: the device is suspended or decommissioned.
        Unavailable: the replay cache is unavailable, and the request writes.
    """
    now = state.clock()
    body = await read_body(receive)
    limits, client = state.rate_limits, scope.get("client")
    if client is not None:
        address = client_subnet(client[0])
        if limits.count_locally("address", address):
            await limits.flush("address", address)
    # Reversed, because of repeated headers the first one counts. Only the headers of credentials are decoded.
    headers = dict(reversed(scope["headers"]))
    credentials = {name: headers[key].decode("latin-1") for key, name in _AUTH_HEADERS if key in headers}
    request = AuthRequest(credentials, RequestBinding(scope["method"], scope["path"], body), write, now)
    caller = await state.device_auth.authenticate(request)
    if limits.count_locally("device", caller.device_id):
        await limits.flush("device", caller.device_id)
    return AuthenticatedRequest(body, caller, now)


def _require_scope(scopes: tuple[str, ...]) -> Callable[..., Caller]:
    def authenticate(credentials: Credentials, session: ReadOnly, now: Now) -> Caller:
        if credentials is None:
            raise Unauthorized("the request has no API token; send `Authorization: Bearer TOKEN`")
        caller = api_tokens.authenticate(session, credentials.credentials, now=now)
        if caller.scope not in scopes:
            raise Forbidden(
                f"the token has the role {caller.scope}; use a token with one of the roles {', '.join(scopes)}"
            )
        return caller

    return authenticate


Viewer = Annotated[Caller, Depends(_require_scope(api_tokens.SCOPES))]
Publisher = Annotated[Caller, Depends(_require_scope(("publisher", "release-manager", "admin")))]
ReleaseManager = Annotated[Caller, Depends(_require_scope(("release-manager", "admin")))]
Admin = Annotated[Caller, Depends(_require_scope(("admin",)))]


def envelope_bytes(parsed: dict[str, Any]) -> bytes:
    """Serialize an envelope that was sent as part of a JSON body.

    Raises:
        Invalid: it contains a value that strict JSON does not allow.
    """
    try:
        return strict_json.dumps(parsed)
    except (ContractError, RecursionError) as error:
        raise Invalid(str(error)[:200], field="envelope") from error
