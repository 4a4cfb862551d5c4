"""Is it alive, is it ready, how is it doing."""

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
from service.api.dependencies import Held, Process

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """May traffic come, and what of all that is needed is there."""

    status: Literal["ready", "not_ready"]
    database: bool
    snapshot: bool
    valkey: bool


@router.get("/health", summary="The process is alive")
async def health() -> Health:
    """Nothing is asked of anything else, so that an outage elsewhere does not restart us."""
    return Health()


@router.get(
    "/ready",
    summary="Ready for traffic",
    response_model=Readiness,
    responses={503: {"description": "Not now; the body says why.", "model": Readiness}},
)
async def ready(request: Request, held: Held) -> JSONResponse:
    """503 until there is a snapshot and the database takes writes, and once we are going; Valkey is not needed."""
    database = await asyncio.to_thread(_database, held)
    snapshot = held.snapshots.current.epoch > 0
    good = database and snapshot and not request.app.state.draining
    told = Readiness(
        status="ready" if good else "not_ready",
        database=database,
        snapshot=snapshot,
        valkey=await _valkey(held),
    )
    return JSONResponse(told.model_dump(), 200 if good else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics() -> Response:
    """Of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _database(held: Process) -> bool:
    """A demoted primary answers `select 1`; ask whether it would take a write."""
    try:
        with held.engine.connect() as connection:
            return not connection.scalar(text("select pg_is_in_recovery()"))
    except (SQLAlchemyError, OSError):
        return False


async def _valkey(held: Process) -> bool:
    try:
        return bool(await held.valkey.ping())
    except (RedisError, OSError):
        return False
