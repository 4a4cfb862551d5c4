"""One API process: its parts are made here and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

import redis.asyncio
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from sdk_contract.writing import Signer
from service import database, jobs, signing
from service.api import (
    cohorts,
    config,
    device,
    devices,
    gates,
    health,
    office,
    oidc,
    patches,
    previews,
    problems,
    rollouts,
    templates,
    versions,
    webhooks,
)
from service.api.body_limit import BodyLimit
from service.api.dependencies import Process
from service.api.door import DeviceDoor
from service.blobs import BlobStore, S3BlobStore
from service.config import Settings
from service.errors import ServiceError
from service.observability import log
from service.operations import workloads
from service.serving.answer import Pace, PollDesk
from service.serving.brakes import Brakes
from service.serving.checkins import Checkins
from service.serving.compose import Composer
from service.serving.credentials import StoredCredentials
from service.serving.device_auth import DeviceAuth, Provider
from service.serving.grants import Grant, Wish, grant
from service.serving.group_commit import GroupCommit
from service.serving.intake import Intake, Receipt, Report
from service.serving.marks import Marks
from service.serving.measurements import Measurements
from service.serving.patch_demand import PatchDemand
from service.serving.pressure import Pressure
from service.serving.provider_keys import ProviderKeys, fetch_from
from service.serving.rate_limits import RateLimits
from service.serving.snapshot import SnapshotKeeper
from service.serving.urls import DownloadUrls
from service.tokens import AccessTokens, Clock, ProviderRules, utc_now

CI_LIFETIME_S = 3600
"""Longest span of an identity token of CI that is believed."""


def create_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """The ASGI application of one process.

    Args:
        settings: of the deployment.
        clock: the time; simulations bring one of their own.

    Raises:
        KeyUnusable: no director key.
        ServiceError: no access token secret.
    """
    # The one key that signs at every poll.
    director = signing.quick(signing.signer_from(settings.director_key, "director"))
    access_tokens, pressure = _access_tokens(settings), Pressure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, director, access_tokens, pressure, clock) as held:
            app.state.process = held
            yield

    app = FastAPI(
        title="Graylag",
        version="1",
        summary="Over-the-air updates for AI models on devices",
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        # Small devices omit the content type; the device routes read their bodies themselves.
        strict_content_type=False,
        # Asked anew in each request whether anybody has set it up, which costs as much as parsing a poll.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.draining = False
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(DeviceDoor, shortcuts=device.SHORTCUTS, pressure=pressure)
    for module in (
        health,
        device,
        oidc,
        versions,
        patches,
        cohorts,
        templates,
        previews,
        gates,
        rollouts,
        devices,
        webhooks,
        config,
        office,
    ):
        app.include_router(module.router)
    return app


@asynccontextmanager
async def _running(
    settings: Settings, director: Signer, access_tokens: AccessTokens, pressure: Pressure, clock: Clock
) -> AsyncIterator[Process]:
    """Everything that lives as long as the process; background loops end with it."""
    engine = database.engine_for(settings.database_url)
    async_engine = database.async_engine_for(settings.database_url)
    reader = database.Reader(settings.database_url)
    valkey = redis.asyncio.Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=2, socket_connect_timeout=2
    )
    blobs = S3BlobStore(settings)
    snapshots = SnapshotKeeper(engine, settings.snapshot_check_s)
    checkins = Checkins(async_engine)
    demand = PatchDemand(async_engine, wait=_patch_patience(settings))
    grants: GroupCommit[Wish, Grant] = GroupCommit(async_engine, grant)
    take_in = Intake(Measurements(snapshots)).take_in
    intake: GroupCommit[Report, Receipt] = GroupCommit(async_engine, take_in)
    brakes = Brakes(engine, clock, pause_s=settings.brakes_pause_s)
    held = Process(
        settings=settings,
        engine=engine,
        async_engine=async_engine,
        redis=valkey,
        blobs=blobs,
        bell=jobs.Bell(jobs.broker(settings.redis_url.get_secret_value())),
        access_tokens=access_tokens,
        device_auth=_device_auth(
            settings,
            access_tokens=access_tokens,
            valkey=valkey,
            engine=engine,
            reader=reader,
            clock=clock,
        ),
        rate_limits=_rate_limits(settings, valkey),
        workloads=_workloads(settings),
        snapshots=snapshots,
        checkins=checkins,
        desk=_desk(
            settings=settings,
            director=director,
            snapshots=snapshots,
            grants=grants,
            checkins=checkins,
            demand=demand,
            blobs=blobs,
            pressure=pressure,
        ),
        intake=intake,
        brakes=brakes,
        pressure=pressure,
        clock=clock,
    )
    await snapshots.try_refresh()
    try:
        async with _going(snapshots, checkins, grants, intake, brakes, pressure, demand):
            yield held
    finally:
        await checkins.flush()
        await demand.flush()
        await _let_go(valkey, reader, async_engine, engine)
        log("main").info("api.stopped")


async def _let_go(
    valkey: redis.asyncio.Redis, reader: database.Reader, async_engine: AsyncEngine, engine: Engine
) -> None:
    await valkey.aclose()
    await reader.aclose()
    await async_engine.dispose()
    engine.dispose()


class Loop(Protocol):
    """What goes on beside requests until it is cancelled."""

    async def run(self) -> None:
        """Go on."""


@asynccontextmanager
async def _going(*loops: Loop) -> AsyncIterator[None]:
    """The loops as tasks, for as long as the block lasts."""
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _rate_limits(settings: Settings, valkey: redis.asyncio.Redis) -> RateLimits:
    return RateLimits(
        valkey,
        settings.redis_url.get_secret_value(),
        device=settings.rate_per_device,
        address=settings.rate_per_address,
    )


def _desk(
    *,
    settings: Settings,
    director: Signer,
    snapshots: SnapshotKeeper,
    grants: GroupCommit[Wish, Grant],
    checkins: Checkins,
    demand: PatchDemand,
    blobs: BlobStore,
    pressure: Pressure,
) -> PollDesk:
    return PollDesk(
        snapshots=snapshots,
        grants=grants,
        checkins=checkins,
        composer=Composer(DownloadUrls(blobs, settings.download_url_ttl_s), director),
        pace=Pace(
            poll_s=settings.poll_interval_s,
            patch_wait=timedelta(seconds=settings.patch_wait_s),
            lease=timedelta(seconds=settings.attempt_lease_s),
            strikes=settings.penalty_failures,
            held_poll_s=settings.held_poll_s,
        ),
        load=lambda: pressure.load,
        demand=demand.considered,
        foresee=demand.foreseen,
    )


def _patch_patience(settings: Settings) -> timedelta:
    """How long devices wait for a patch that nobody makes yet: not at all where none is made on demand."""
    return timedelta(seconds=settings.patch_wait_s if settings.patch_limit else 0)


def _device_auth(
    settings: Settings,
    *,
    access_tokens: AccessTokens,
    valkey: redis.asyncio.Redis,
    engine: Engine,
    reader: database.Reader,
    clock: Clock,
) -> DeviceAuth:
    secret = settings.hmac_secret
    return DeviceAuth(
        modes=frozenset(settings.device_auth),
        access_tokens=access_tokens,
        credentials=StoredCredentials(engine, reader, settings.auto_accept, clock),
        valkey=Marks(valkey),
        hmac_secret=secret.get_secret_value().encode() if secret else b"",
        provider=_provider(settings),
    )


def _provider(settings: Settings) -> Provider | None:
    if "hmac" in settings.device_auth and settings.hmac_secret is None:
        raise ServiceError("the hmac mode needs GRAYLAG_HMAC_SECRET")
    if "idp" not in settings.device_auth:
        return None
    if not (settings.idp_jwks_url and settings.idp_issuer and settings.idp_audience):
        raise ServiceError(
            "the idp mode needs GRAYLAG_IDP_JWKS_URL, GRAYLAG_IDP_ISSUER and GRAYLAG_IDP_AUDIENCE"
        )
    rules = ProviderRules(
        issuer=settings.idp_issuer,
        audience=settings.idp_audience,
        device_claim=settings.idp_device_claim,
        attributes_claim=settings.idp_attributes_claim,
    )
    return Provider(
        ProviderKeys(fetch_from(settings.idp_jwks_url, settings.idp_ca_file)), rules, settings.idp_enrol
    )


def _workloads(settings: Settings) -> Provider | None:
    if not (settings.ci_jwks_url and settings.ci_issuer and settings.ci_audience):
        return None
    rules = ProviderRules(settings.ci_issuer, settings.ci_audience, workloads.CLAIM, lifetime_s=CI_LIFETIME_S)
    return Provider(ProviderKeys(fetch_from(settings.ci_jwks_url, settings.idp_ca_file)), rules, enrol=False)


def _access_tokens(settings: Settings) -> AccessTokens:
    if settings.access_token_secret is None:
        raise ServiceError("set GRAYLAG_ACCESS_TOKEN_SECRET to at least 32 random bytes")
    secret = settings.access_token_secret.get_secret_value().encode()
    return AccessTokens(secret, settings.access_token_ttl_s)


def _operation_id(route: APIRoute) -> str:
    """Names of SDK methods are made from this."""
    return route.name
