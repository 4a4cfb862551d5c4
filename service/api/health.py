"""Liveness, readiness and metrics of one process."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sdk_contract.wire import Health
from service.api.dependencies import AppState, State

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """Whether the process is ready for traffic, and which of its dependencies are available."""

    status: Literal["ready", "not_ready"]
    database: bool
    snapshot: bool
    valkey: bool


@router.get("/health", summary="Check that the server is running")
async def health() -> Health:
    """Does not check other servers, so that an outage of one of them does not restart this process."""
    return Health()


@router.get(
    "/ready",
    summary="Check that the server is ready for traffic",
    response_model=Readiness,
    responses={503: {"description": "Not ready; the body says why.", "model": Readiness}},
)
async def ready(request: Request, state: State) -> JSONResponse:
    """503 until a snapshot is loaded and the database accepts writes, and while the process shuts down.

    Valkey is reported but not required.
    """
    database = await asyncio.to_thread(_database_is_writable, state)
    snapshot = state.snapshots.current.epoch > 0
    is_ready = database and snapshot and not request.app.state.draining
    readiness = Readiness(
        status="ready" if is_ready else "not_ready",
        database=database,
        snapshot=snapshot,
        valkey=await _valkey_responds(state),
    )
    return JSONResponse(readiness.model_dump(), 200 if is_ready else 503)


@router.get("/metrics", summary="Get the Prometheus metrics", response_class=PlainTextResponse)
def metrics() -> Response:
    """Return the metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _database_is_writable(state: AppState) -> bool:
    """Check for recovery, because a demoted primary still answers `select 1`."""
    try:
        with state.engine.connect() as connection:
            return not connection.scalar(text("select pg_is_in_recovery()"))
    except (SQLAlchemyError, OSError):
        return False


async def _valkey_responds(state: AppState) -> bool:
    try:
        return bool(await state.valkey.ping())
    except (RedisError, OSError):
        return False
