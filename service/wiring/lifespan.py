"""Everything that lives as long as an API process: connections, hot path, background tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, Self

import redis.asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from sdk_contract.signing import Signer
from service.api.dependencies import AppState
from service.config import Settings
from service.infrastructure import database, jobs
from service.infrastructure.blobs import BlobStore, S3BlobStore
from service.infrastructure.clock import Clock
from service.infrastructure.observability import log
from service.infrastructure.tokens import AccessTokens
from service.serving.admission.load_monitor import LoadMonitor
from service.serving.admission.rate_limits import RateLimits
from service.serving.attempts.grants import grant_offers
from service.serving.attempts.offer_request import OfferRequest, OfferResult
from service.serving.auth.credentials import DatabaseCredentials
from service.serving.auth.replay_cache import ReplayCache
from service.serving.batching.write_batcher import WriteBatcher
from service.serving.checkins import CheckinBuffer
from service.serving.events.gate_trigger import GateTrigger
from service.serving.events.ingest import EventBatch, EventIngestor, IngestResult
from service.serving.events.metric_counts import MetricCounter
from service.serving.polls.context import PollSettings
from service.serving.polls.download_urls import DownloadUrls
from service.serving.polls.patch_demand import PatchDemand
from service.serving.polls.response_renderer import ResponseRenderer
from service.serving.polls.service import PollService
from service.serving.snapshots.cache import SnapshotCache
from service.wiring.authentication import build_ci_provider, build_device_auth

VALKEY_TIMEOUT_S = 2


class BackgroundTask(Protocol):
    """Work that goes on beside the requests until it is canceled."""

    async def run(self) -> None:
        """Run until canceled."""


@dataclass(frozen=True, slots=True)
class _Connections:
    """The process's connections to PostgreSQL and Valkey."""

    engine: Engine
    async_engine: AsyncEngine
    reader: database.SingleConnection
    valkey: redis.asyncio.Redis

    @classmethod
    def open(cls, settings: Settings) -> Self:
        return cls(
            engine=database.engine_for(settings.database_url),
            async_engine=database.async_engine_for(settings.database_url),
            reader=database.SingleConnection(settings.database_url),
            valkey=redis.asyncio.Redis.from_url(
                settings.redis_url.get_secret_value(),
                socket_timeout=VALKEY_TIMEOUT_S,
                socket_connect_timeout=VALKEY_TIMEOUT_S,
            ),
        )

    async def close(self) -> None:
        await self.valkey.aclose()
        await self.reader.aclose()
        await self.async_engine.dispose()
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class _HotPath:
    """The parts of the hot path; each field is also a background task."""

    snapshots: SnapshotCache
    checkins: CheckinBuffer
    offers: WriteBatcher[OfferRequest, OfferResult]
    events: WriteBatcher[EventBatch, IngestResult]
    gate_trigger: GateTrigger
    load_monitor: LoadMonitor
    patch_demand: PatchDemand

    @classmethod
    def create(
        cls, settings: Settings, connections: _Connections, load_monitor: LoadMonitor, clock: Clock
    ) -> Self:
        engine, async_engine = connections.engine, connections.async_engine
        snapshots = SnapshotCache(engine, settings.snapshot_interval_s)
        return cls(
            snapshots=snapshots,
            checkins=CheckinBuffer(async_engine),
            offers=WriteBatcher(async_engine, grant_offers),
            events=WriteBatcher(async_engine, EventIngestor(MetricCounter(snapshots)).ingest),
            gate_trigger=GateTrigger(engine, clock, delay_s=settings.gate_check_delay_s),
            load_monitor=load_monitor,
            patch_demand=PatchDemand(async_engine, wait=_patch_wait(settings)),
        )

    @property
    def tasks(self) -> tuple[BackgroundTask, ...]:
        return (
            self.snapshots,
            self.checkins,
            self.offers,
            self.events,
            self.gate_trigger,
            self.load_monitor,
            self.patch_demand,
        )

    async def flush(self) -> None:
        await self.checkins.flush()
        await self.patch_demand.flush()


@asynccontextmanager
async def running_process(
    settings: Settings,
    *,
    director: Signer,
    access_tokens: AccessTokens,
    load_monitor: LoadMonitor,
    clock: Clock,
) -> AsyncIterator[AppState]:
    """Run the background tasks of a process; at the end, write what is buffered and close all connections.

    Args:
        settings: the settings of the deployment.
        director: signs directives.
        access_tokens: issues and verifies the access tokens of devices.
        load_monitor: measures this process; the middleware reads it before the process runs.
        clock: returns the current time.

    Raises:
        ServiceError: a device authentication mode lacks a setting.
    """
    connections = _Connections.open(settings)
    hot_path = _HotPath.create(settings, connections, load_monitor, clock)
    process = _app_state(
        settings, connections, hot_path, director=director, access_tokens=access_tokens, clock=clock
    )
    await hot_path.snapshots.try_refresh()
    try:
        async with _running(*hot_path.tasks):
            yield process
    finally:
        await hot_path.flush()
        await connections.close()
        log("lifespan").info("api.stopped")


@asynccontextmanager
async def _running(*background_tasks: BackgroundTask) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(task.run()) for task in background_tasks]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _app_state(
    settings: Settings,
    connections: _Connections,
    hot_path: _HotPath,
    *,
    director: Signer,
    access_tokens: AccessTokens,
    clock: Clock,
) -> AppState:
    blobs = S3BlobStore(settings)
    redis_url = settings.redis_url.get_secret_value()
    replay_cache = ReplayCache(connections.valkey)
    credentials = DatabaseCredentials(
        connections.engine, connections.reader, settings.auto_accept_devices, clock
    )
    return AppState(
        settings=settings,
        engine=connections.engine,
        async_engine=connections.async_engine,
        valkey=connections.valkey,
        blobs=blobs,
        notifier=jobs.JobNotifier(jobs.celery_app(redis_url)),
        access_tokens=access_tokens,
        device_auth=build_device_auth(settings, credentials, replay_cache, access_tokens),
        replay_cache=replay_cache,
        rate_limits=RateLimits(
            connections.valkey,
            redis_url,
            device=settings.rate_limit_per_device,
            address=settings.rate_limit_per_address,
        ),
        ci_provider=build_ci_provider(settings),
        snapshots=hot_path.snapshots,
        checkins=hot_path.checkins,
        poll_service=_poll_service(settings, hot_path, blobs, director),
        event_writer=hot_path.events,
        gate_trigger=hot_path.gate_trigger,
        load_monitor=hot_path.load_monitor,
        clock=clock,
    )


def _poll_service(settings: Settings, hot_path: _HotPath, blobs: BlobStore, director: Signer) -> PollService:
    load_monitor = hot_path.load_monitor
    return PollService(
        snapshots=hot_path.snapshots,
        offers=hot_path.offers,
        checkins=hot_path.checkins,
        renderer=ResponseRenderer(DownloadUrls(blobs, settings.download_url_ttl_s), director),
        settings=PollSettings(
            poll_interval_s=settings.poll_interval_s,
            patch_wait=timedelta(seconds=settings.patch_wait_s),
            attempt_lease=timedelta(seconds=settings.attempt_lease_s),
            max_failures=settings.max_failures_per_version,
            staged_poll_interval_s=settings.staged_poll_interval_s,
        ),
        load=lambda: load_monitor.load,
        patch_demand=hot_path.patch_demand.apply,
        peek_demand=hot_path.patch_demand.peek,
    )


def _patch_wait(settings: Settings) -> timedelta:
    """How long devices wait for a patch on demand: not at all if none is built on demand."""
    return timedelta(seconds=settings.patch_wait_s if settings.max_patches_per_version else 0)
