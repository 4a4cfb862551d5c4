"""Credentials of devices, read when they are asked for: a key that was changed or withdrawn ends at once.

While the database is away nothing can be withdrawn, so those that were read last are good until it is back.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import LiteralString

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.database import Reader, transaction
from service.errors import Unavailable
from service.operations import enrolments
from service.serving.device_auth import Credential
from service.serving.gathering import Gathered
from service.tokens import Clock, utc_now

MAX_KNOWN = 50_000
"""Credentials that are remembered for an outage, about 300 bytes each."""
_FIND: LiteralString = (
    "select id, status, public_key, secret_salt, models from devices where id = any(%s::text[])"
)


def _array(texts: Iterable[str]) -> str:
    """As PostgreSQL writes an array, which costs less than having the driver write it."""
    return f"{{{json.dumps([*dict.fromkeys(texts)], ensure_ascii=False)[1:-1]}}}"


class StoredCredentials:
    """Those in the database, by primary key; requests that come together look together."""

    def __init__(self, engine: Engine, reader: Reader, auto_accept: bool, clock: Clock = utc_now) -> None:
        """Keep the ports."""
        self._engine = engine
        self._reader = reader
        self._auto_accept = auto_accept
        self._clock = clock
        self._known: dict[str, Credential] = {}
        self._looking: Gathered[str, Credential | Unavailable | None] = Gathered(self._find_all)

    async def find(self, device_id: str) -> Credential | None:
        """The credential of a device, None where there is no such device.

        Raises:
            Unavailable: the database is away, and the device was not seen lately.
        """
        found = await self._looking.ask(device_id)
        if isinstance(found, Unavailable):
            raise found
        return found

    async def admit(self, device_id: str) -> Credential:
        """The same, and the device is let in if it is new.

        Raises:
            Unavailable: the database is away.
        """
        found = await self.find(device_id)
        if found is None:
            found = await asyncio.to_thread(self._enrol, device_id, self._clock())
        return found

    async def _find_all(self, device_ids: Sequence[str]) -> Sequence[Credential | Unavailable | None]:
        try:
            rows = await self._reader.rows(_FIND, [_array(device_ids)])
        except (psycopg.Error, OSError) as error:
            return [self._remembered(device_id, error) for device_id in device_ids]
        found = {row[0]: Credential(*row[1:]) for row in rows}
        if len(self._known) + len(found) > MAX_KNOWN:
            self._known = {}
        self._known |= found
        return [found.get(device_id) for device_id in device_ids]

    def _remembered(self, device_id: str, error: Exception) -> Credential | Unavailable:
        known = self._known.get(device_id)
        if known is None:
            refusal = Unavailable("cannot look the device up now", retry_after_s=5)
            refusal.__cause__ = error
            return refusal
        return known

    def _enrol(self, device_id: str, now: datetime) -> Credential:
        try:
            with transaction(self._engine) as session:
                row = enrolments.admit(session, device_id, auto_accept=self._auto_accept, now=now)
                return Credential(row.status, row.public_key, row.secret_salt, row.models)
        except SQLAlchemyError as error:
            raise Unavailable("cannot let the device in now", retry_after_s=5) from error
