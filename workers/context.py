"""The connections and settings of one worker process."""

import os
import socket
from dataclasses import dataclass

from sqlalchemy import Engine

from service.config import Settings
from service.infrastructure import database, jobs
from service.infrastructure.blobs import BlobStore, S3BlobStore
from service.infrastructure.jobs import JobNotifier


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker process.

    Attributes:
        worker_name: `host:pid`; stored as the owner of claimed jobs.
    """

    settings: Settings
    engine: Engine
    blobs: BlobStore
    notifier: JobNotifier
    worker_name: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "WorkerContext":
        """Connect to the database, the object store and the broker."""
        return cls(
            settings=settings,
            engine=database.engine_for(settings.database_url),
            blobs=S3BlobStore(settings),
            notifier=JobNotifier(jobs.celery_app(settings.redis_url.get_secret_value())),
            worker_name=f"{socket.gethostname()}:{os.getpid()}",
        )
