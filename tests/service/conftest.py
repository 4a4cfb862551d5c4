"""A running service in the test process: the real application over a database of its own."""

import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.config import Settings
from service.infrastructure import database, signing
from service.infrastructure.embedded import BUCKET, Endpoints
from service.main import create_app
from service.operations.fleet import enrollment
from service.operations.platform import api_tokens, trust
from service.store.platform.jobs import JobRow
from tests.databases import Contents, SpareDatabase, read_contents, write_contents
from workers.context import WorkerContext
from workers.tasks import dispatch, scheduled

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority: the blob store is on loopback, and loading all authorities takes longer than many tests."""
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def role_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One key per role, and the trust bundle that contains them."""
    directory = tmp_path_factory.mktemp("keys")
    signers = {role: [signing.create_key(directory / f"{role}.pem")] for role in signing.ROLES}
    (directory / "trust.json").write_bytes(signing.first_trust_bundle(signers, now=datetime.now(UTC)))
    return directory


@pytest.fixture
def settings(endpoints: Endpoints, database_url: str, tmp_path: Path, role_keys: Path) -> Settings:
    """Settings of a service for one test, with copies of the session's keys."""
    for file in role_keys.iterdir():
        shutil.copy(file, tmp_path)
    return Settings(
        database_url=database_url,
        redis_url=SecretStr(endpoints.redis_url),
        s3_endpoint=endpoints.s3_endpoint,
        s3_bucket=BUCKET,
        s3_access_key=SecretStr(endpoints.s3_access_key),
        s3_secret_key=SecretStr(endpoints.s3_secret_key),
        director_key=f"file:{tmp_path}/director.pem",
        patcher_key=f"file:{tmp_path}/patcher.pem",
        publisher_key=f"file:{tmp_path}/publisher.pem",
        access_token_secret=SecretStr("s" * 40),
        snapshot_interval_s=60,
        # Tests trigger gate evaluations themselves.
        gate_check_delay_s=3600,
        upload_part_bytes=5 * 2**20,
        poll_interval_s=3600,
        # All tests share one Valkey, and many use the same device ids.
        rate_limit_per_device="off",
        rate_limit_per_address="off",
        scratch_dir=tmp_path,
    )


@pytest.fixture
def engine(settings: Settings):
    """A connection pool for the test's database."""
    pool = database.engine_for(settings.database_url)
    yield pool
    pool.dispose()


@dataclass
class LiveService:
    """The application with a client, credentials, and a worker that runs jobs on demand."""

    client: TestClient
    settings: Settings
    engine: Any
    trust: bytes
    tokens: dict[str, str]
    enrollment_token: str
    worker: WorkerContext
    store: httpx2.Client = field(default_factory=lambda: httpx2.Client(trust_env=False, verify=NO_TLS))

    def call(self, method: str, path: str, body: Any = None, scope: str = "admin") -> httpx2.Response:
        """Send a request to the admin API."""
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"}
        return self.client.request(method, path, json=body, headers=headers)

    @contextmanager
    def worker_with(self, **changes: Any) -> Iterator[None]:
        """Use another worker within a block, for example one without keys."""
        original, self.worker = self.worker, replace(self.worker, **changes)
        try:
            yield
        finally:
            self.worker = original

    def run_scheduled_tasks(self) -> None:
        """Run the scheduled tasks: evaluate gates and sweep; then reload the snapshot."""
        scheduled.evaluate_rollouts(self.worker)
        scheduled.sweep(self.worker)
        assert isinstance(self.client.app, FastAPI)
        self.client.app.state.process.snapshots.refresh()

    def run_jobs(self, *, except_for: str = "") -> list[tuple[str, str]]:
        """Run queued jobs until none is left; return (kind, state) of each job that was run."""
        done: list[UUID] = []
        while True:
            with database.read_only(self.engine) as session:
                queued = session.query(JobRow).filter(JobRow.state == "queued", JobRow.kind != except_for)
                waiting = [row.id for row in queued.all()]
            new_jobs = [job for job in waiting if job not in done]
            if not new_jobs:
                break
            for job in new_jobs:
                dispatch.run_by_id(self.worker, str(job))
                done.append(job)
        with database.read_only(self.engine) as session:
            rows = {row.id: (row.kind, row.state) for row in session.query(JobRow).all()}
        return [rows[job] for job in done]


@dataclass(frozen=True)
class InitialState:
    """What an administrator has set up before the first test: a trust bundle and tokens."""

    contents: Contents
    tokens: dict[str, str]
    enrollment_token: str


@pytest.fixture(scope="session")
def initial_state(spare_database: SpareDatabase, role_keys: Path) -> InitialState:
    """Run the real operations once; every test's database gets a copy of the resulting rows."""
    url = spare_database.renew()
    now = datetime.now(UTC)
    engine = database.engine_for(url)
    with database.transaction(engine) as session:
        trust.add(session, (role_keys / "trust.json").read_bytes(), actor="test", now=now)
        tokens = {
            scope: api_tokens.create(session, scope, scope, actor="test", now=now)
            for scope in api_tokens.SCOPES
        }
        enrollment_token = enrollment.create_token(session, "test", actor="test", now=now)
    engine.dispose()
    return InitialState(read_contents(url), tokens, enrollment_token)


@pytest.fixture
def live(
    settings: Settings, engine: Any, initial_state: InitialState, role_keys: Path
) -> Iterator[LiveService]:
    """A running service with a token of every scope."""
    envelope = (role_keys / "trust.json").read_bytes()
    write_contents(settings.database_url, initial_state.contents)
    with TestClient(create_app(settings)) as client:
        service = LiveService(
            client,
            settings,
            engine,
            envelope,
            dict(initial_state.tokens),
            initial_state.enrollment_token,
            replace(WorkerContext.from_settings(settings), engine=engine),
        )
        yield service
        service.store.close()


def as_json(response: httpx2.Response) -> Any:
    """The body of a response that must be a success."""
    assert response.is_success, response.text
    return json.loads(response.content)
