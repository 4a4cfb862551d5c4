"""Keeps the newest snapshot of this process; reloads it when the serving epoch changes."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service import store
from service.infrastructure.database import read_only
from service.infrastructure.observability import log
from service.serving.snapshots.loader import load_snapshot
from service.serving.snapshots.membership_cache import MembershipCache
from service.serving.snapshots.snapshot import Snapshot

_log = log("snapshot")


class SnapshotCache:
    """The newest snapshot of this process; replaced in one assignment.

    Attributes:
        current: the newest snapshot.
        fresh: whether the last refresh succeeded.
    """

    def __init__(self, engine: Engine, interval_s: float) -> None:
        """Start empty; `refresh` or `run` loads the snapshot, `run` every `interval_s` seconds."""
        self._engine = engine
        self._interval_s = interval_s
        self.current = Snapshot()
        self._memberships = MembershipCache()
        self.fresh = False
        self._refresh_lock = threading.Lock()

    def refresh(self) -> None:
        """Reload the snapshot if the epoch has changed. Blocks.

        Raises:
            SQLAlchemyError, OSError: the database is down.
        """
        # One at a time, because an older view that took longer must not replace a newer one.
        with self._refresh_lock, read_only(self._engine) as session:
            if self.current.epoch != store.serving_epoch.epoch(session) or not self.fresh:
                self.current = load_snapshot(session, self._memberships)
        self.fresh = True

    async def run(self) -> None:
        """Refresh until canceled; while the database is down, the old snapshot stays."""
        while True:
            await self.try_refresh()
            await asyncio.sleep(self._interval_s)

    async def try_refresh(self) -> None:
        """Refresh once in a thread; failures are logged, and the old snapshot stays."""
        try:
            await _wait_for_thread(asyncio.to_thread(self.refresh))
        except (SQLAlchemyError, OSError) as error:
            self.fresh = False
            _log.warning("snapshot.stale", epoch=self.current.epoch, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - a view that cannot be loaded must not stop the loop
            _log.exception("snapshot.unreadable", epoch=self.current.epoch)


async def _wait_for_thread(work: Coroutine[Any, Any, None]) -> None:
    """Wait for a thread, even when canceled, because the thread uses a connection."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
