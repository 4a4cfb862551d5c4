"""Credentials of devices, read for every request, so that a changed or withdrawn key ends at once.

While the database is down nothing can be withdrawn, so the credentials that were read last stay valid until it is back.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import LiteralString

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.errors import Unavailable
from service.infrastructure.clock import Clock, utc_now
from service.infrastructure.database import SingleConnection, transaction
from service.operations.fleet import enrollment
from service.serving.auth.device_auth import DeviceCredential
from service.serving.batching.read_batcher import ReadBatcher

MAX_CACHED = 50_000
"""Credentials kept for an outage, about 300 bytes each."""
_FIND: LiteralString = (
    "select id, status, public_key, secret_salt, models from devices where id = any(%s::text[])"
)


def _array(texts: Iterable[str]) -> str:
    """A PostgreSQL array literal, which costs less than having the driver build one."""
    return f"{{{json.dumps([*dict.fromkeys(texts)], ensure_ascii=False)[1:-1]}}}"


class DatabaseCredentials:
    """Credentials in the database; requests that arrive together share one query."""

    def __init__(
        self, engine: Engine, reader: SingleConnection, auto_accept_devices: bool, clock: Clock = utc_now
    ) -> None:
        """Take the connections and the clock.

        Args:
            engine: for enrolling devices.
            reader: for reading credentials.
            auto_accept_devices: whether a device that is enrolled here is accepted at once.
            clock: returns the current time.
        """
        self._engine = engine
        self._reader = reader
        self._auto_accept = auto_accept_devices
        self._clock = clock
        self._last_read: dict[str, DeviceCredential] = {}
        self._batcher: ReadBatcher[str, DeviceCredential | Unavailable | None] = ReadBatcher(self._find_all)

    async def find(self, device_id: str) -> DeviceCredential | None:
        """The credential of a device; None if it is not enrolled.

        Raises:
            Unavailable: the database is down, and the device's credential was not read lately.
        """
        found = await self._batcher.read(device_id)
        if isinstance(found, Unavailable):
            raise found
        return found

    async def find_or_enroll(self, device_id: str) -> DeviceCredential:
        """The credential of a device, which is enrolled first if it is new.

        Raises:
            Unavailable: the database is down.
        """
        found = await self.find(device_id)
        if found is None:
            found = await asyncio.to_thread(self._enroll, device_id, self._clock())
        return found

    async def _find_all(self, device_ids: Sequence[str]) -> Sequence[DeviceCredential | Unavailable | None]:
        try:
            rows = await self._reader.fetch_all(_FIND, [_array(device_ids)])
        except (psycopg.Error, OSError) as error:
            return [self._last_known(device_id, error) for device_id in device_ids]
        found = {row[0]: DeviceCredential(*row[1:]) for row in rows}
        if len(self._last_read) + len(found) > MAX_CACHED:
            self._last_read = {}
        self._last_read |= found
        return [found.get(device_id) for device_id in device_ids]

    def _last_known(self, device_id: str, error: Exception) -> DeviceCredential | Unavailable:
        known = self._last_read.get(device_id)
        if known is None:
            unavailable = Unavailable(
                "the database does not answer; send the request again later", retry_after_s=5
            )
            unavailable.__cause__ = error
            return unavailable
        return known

    def _enroll(self, device_id: str, now: datetime) -> DeviceCredential:
        try:
            with transaction(self._engine) as session:
                row = enrollment.auto_enroll(
                    session, device_id, auto_accept_devices=self._auto_accept, now=now
                )
                return DeviceCredential(row.status, row.public_key, row.secret_salt, row.models)
        except SQLAlchemyError as error:
            raise Unavailable(
                "the database does not answer; send the request again later", retry_after_s=5
            ) from error
