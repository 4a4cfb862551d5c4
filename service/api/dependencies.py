"""What handlers ask for, as types: a transaction, the ports, and who is calling."""

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
from service import database
from service.blobs import BlobStore
from service.clock import Clock, utc_now
from service.config import Settings
from service.errors import Forbidden, Invalid, TooLarge, Unauthorized
from service.jobs import JobNotifier
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
from service.tokens import AccessTokens, Caller, DeviceClaims, RequestBinding

_PROOF = tuple((name.encode(), name) for name in AUTH_HEADERS)


@dataclass(frozen=True, slots=True)
class Process:
    """What one API process holds, made once by `main`."""

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


def process(request: Request) -> Process:
    """The process that serves a request."""
    held: Process = request.app.state.process
    return held


def _transaction(request: Request, held: Annotated[Process, Depends(process)]) -> Iterator[Session]:
    with database.transaction(held.engine) as session:
        # What comes between the handler and the commit finds it here; see `idempotency`.
        request.state.transaction = session
        yield session


def _read_only(held: Annotated[Process, Depends(process)]) -> Iterator[Session]:
    with database.read_only(held.engine) as session:
        yield session


def _blobs(held: Annotated[Process, Depends(process)]) -> BlobStore:
    return held.blobs


def _bell(held: Annotated[Process, Depends(process)]) -> JobNotifier:
    return held.notifier


def _settings(held: Annotated[Process, Depends(process)]) -> Settings:
    return held.settings


def _now(held: Annotated[Process, Depends(process)]) -> datetime:
    return held.clock()


Held = Annotated[Process, Depends(process)]
# With the default scope the answer would leave before the commit, and a failed commit would look like success.
Transaction = Annotated[Session, Depends(_transaction, scope="function")]
ReadOnly = Annotated[Session, Depends(_read_only, scope="function")]
Blobs = Annotated[BlobStore, Depends(_blobs)]
JobBell = Annotated[JobNotifier, Depends(_bell)]
Config = Annotated[Settings, Depends(_settings)]
Now = Annotated[datetime, Depends(_now)]

_bearer = HTTPBearer(auto_error=False, description="API token, or a device's access token.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def bounded_body(receive: Receive) -> bytes:
    """The body of a device's request, whatever content type it claims or omits.

    Raises:
        TooLarge: more than 64 KiB; nothing beyond that is read.
    """
    received = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += message.get("body", b"")
        if len(received) > MAX_BODY:
            raise TooLarge(f"at most {MAX_BODY} bytes")
        more = message.get("more_body", False)
    return received


async def _body(request: Request) -> bytes:
    return await bounded_body(request.receive)


Body = Annotated[bytes, Depends(_body)]


async def count_address(request: Request, held: Held) -> None:
    """Count a request against the address that it comes from, whoever sends it.

    Raises:
        TooMany: the limit is reached.
    """
    if request.client is not None:
        await held.rate_limits.count("address", client_subnet(request.client.host))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A device's request once it is known who sends it.

    Attributes:
        now: the one time of the whole request.
    """

    body: bytes
    caller: DeviceClaims
    now: datetime


async def arrival(held: Process, scope: Scope, receive: Receive, *, write: bool) -> Arrival:
    """Read, count and authenticate a request of a device, without the framework's injection, which costs more than that.

    Args:
        held: the process that serves it.
        scope: as the server gives it, as `receive`.
        receive: gives the body.
        write: whether a replay would do harm. A replayed poll does none, so polls are answered also while nobody
            can tell; reports are not taken then.

    Raises:
        TooLarge, TooMany, Unauthorized, DeviceSuspended, Unavailable: by name.
    """
    now = held.clock()
    body = await bounded_body(receive)
    limits, client = held.rate_limits, scope.get("client")
    if client is not None:
        address = client_subnet(client[0])
        if limits.count_locally("address", address):
            await limits.flush("address", address)
    # Of equal names the first one counts. Most headers say nothing to us, and are not read.
    sent = dict(reversed(scope["headers"]))
    proof = {name: sent[key].decode("latin-1") for key, name in _PROOF if key in sent}
    presented = AuthRequest(proof, RequestBinding(scope["method"], scope["path"], body), write, now)
    caller = await held.device_auth.authenticate(presented)
    if limits.count_locally("device", caller.device_id):
        await limits.flush("device", caller.device_id)
    return Arrival(body, caller, now)


def _caller_with(scopes: tuple[str, ...]) -> Callable[..., Caller]:
    def authenticate(credentials: Credentials, session: ReadOnly, now: Now) -> Caller:
        if credentials is None:
            raise Unauthorized("send an API token as Authorization: Bearer ...")
        caller = api_tokens.authenticate(session, credentials.credentials, now=now)
        if caller.scope not in scopes:
            raise Forbidden(f"this needs one of {', '.join(scopes)}; the token is a {caller.scope}'s")
        return caller

    return authenticate


Viewer = Annotated[Caller, Depends(_caller_with(api_tokens.SCOPES))]
Publisher = Annotated[Caller, Depends(_caller_with(("publisher", "release-manager", "admin")))]
ReleaseManager = Annotated[Caller, Depends(_caller_with(("release-manager", "admin")))]
Admin = Annotated[Caller, Depends(_caller_with(("admin",)))]


def envelope_of(parsed: dict[str, Any]) -> bytes:
    """The bytes of an envelope that came as JSON inside a body.

    Raises:
        Invalid: something in it that no strict JSON can hold.
    """
    try:
        return strict_json.dumps(parsed)
    except (ContractError, RecursionError) as error:
        raise Invalid(str(error)[:200], field="envelope") from error
