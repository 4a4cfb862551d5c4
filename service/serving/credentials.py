"""Credentials of devices, read when they are asked for: a key that was changed or withdrawn ends at once."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.database import transaction
from service.errors import Unavailable
from service.operations import devices
from service.serving.device_auth import Credential
from service.tokens import Clock, utc_now

_FIND = text("select status, public_key, secret_salt, models from devices where id = :id")


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """Those in the database: one look by primary key."""

    engine: Engine
    async_engine: AsyncEngine
    auto_accept: bool
    clock: Clock = utc_now

    async def find(self, device_id: str) -> Credential | None:
        """The credential of a device, None where there is no such device.

        Raises:
            Unavailable: the database is away.
        """
        try:
            async with self.async_engine.connect() as connection:
                row = (await connection.execute(_FIND, {"id": device_id})).one_or_none()
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("cannot look the device up now", retry_after_s=5) from error
        return Credential(row.status, row.public_key, row.secret_salt, row.models) if row else None

    async def admit(self, device_id: str) -> Credential:
        """The same, and the device is let in if it is new.

        Raises:
            Unavailable: the database is away.
        """
        found = await self.find(device_id)
        if found is None:
            found = await asyncio.to_thread(self._enrol, device_id, self.clock())
        return found

    def _enrol(self, device_id: str, now: datetime) -> Credential:
        try:
            with transaction(self.engine) as session:
                row = devices.admit(session, device_id, auto_accept=self.auto_accept, now=now)
                return Credential(row.status, row.public_key, row.secret_salt, row.models)
        except SQLAlchemyError as error:
            raise Unavailable("cannot let the device in now", retry_after_s=5) from error
