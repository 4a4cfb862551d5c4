"""The hot path of one API process, and the devices that poll it."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sdk_contract.wire import PollRequest
from service.infrastructure import database
from service.infrastructure.embedded import BUCKET
from service.infrastructure.tokens import DeviceClaims
from service.serving.attempts.grants import grant_offers
from service.serving.batching.write_batcher import WriteBatcher
from service.serving.checkins import CheckinBuffer
from service.serving.polls.context import AuthenticatedPoll, PollSettings
from service.serving.polls.download_urls import DownloadUrls
from service.serving.polls.response_renderer import ResponseRenderer
from service.serving.polls.service import PollService
from service.serving.snapshots.cache import SnapshotCache

MODEL = "m"


LEASE = timedelta(hours=6)


class NoBlobs:
    """A blob store for URLs only."""

    def download_url(self, key, *, expires_s):
        return f"https://{BUCKET}.invalid/{key}?{expires_s}"


class Server:
    """The hot path of one API process, with a snapshot as old as its last refresh."""

    def __init__(self, url, signer):
        self.engine = database.engine_for(url)
        self.hot = database.async_engine_for(url)
        self.snapshots = SnapshotCache(self.engine, 60)
        self.grants = WriteBatcher(self.hot, grant_offers)
        self.polls = PollService(
            snapshots=self.snapshots,
            offers=self.grants,
            checkins=CheckinBuffer(self.hot),
            renderer=ResponseRenderer(DownloadUrls(NoBlobs(), 900), signer),
            settings=PollSettings(poll_interval_s=3600, patch_wait=timedelta(0), attempt_lease=LEASE),
        )
        self.loop = None

    async def poll(self, device, now):
        if self.loop is None:
            self.loop = asyncio.create_task(self.grants.run())
        body = {"device_id": device.id, "model": MODEL, "attributes": device.attributes}
        if device.runs:
            body["current_version"] = device.runs
        if device.deferring:
            body |= {"features": ["deferred_activation"]} | (
                {"staged_version": device.staged} if device.staged else {}
            )
        raw = json.dumps(body).encode()
        claims = DeviceClaims(device.id, {})
        response = await self.polls.respond(
            AuthenticatedPoll(PollRequest.model_validate_json(raw), raw, claims, now)
        )
        return json.loads(response)

    async def close(self):
        if self.loop is not None:
            self.loop.cancel()
            with suppress(asyncio.CancelledError):
                await self.loop
        await self.hot.dispose()
        self.engine.dispose()


@dataclass
class Device:
    """A device and its state.

    Attributes:
        deferring: whether it supports deferred activation.
        failing: whether every version fails on it.
        admitted: names of the rollouts that have offered it a version.
    """

    id: str
    attributes: dict[str, Any]
    deferring: bool = False
    failing: bool = False
    runs: str | None = None
    attempt: str | None = None
    target: str | None = None
    staged: str | None = None
    seq: int = 0
    admitted: set[str] = field(default_factory=set)
