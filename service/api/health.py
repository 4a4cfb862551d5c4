"""Is it alive, is it ready, how is it doing."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.api.dependencies import Held, Process

router = APIRouter(tags=["health"])


@router.get("/health", summary="The process is alive")
async def health() -> dict[str, str]:
    """Nothing is asked of anything else, so that an outage elsewhere does not restart us."""
    return {"status": "ok"}


@router.get(
    "/ready", summary="Ready for traffic", responses={503: {"description": "Not now; the body says why."}}
)
async def ready(held: Held) -> JSONResponse:
    """503 until there is a snapshot and the database takes writes; Valkey is told, and not needed."""
    database = await asyncio.to_thread(_database, held)
    checks: dict[str, Any] = {
        "database": database,
        "snapshot": held.snapshots.current.epoch > 0,
        "valkey": await _valkey(held),
    }
    good = database and checks["snapshot"]
    return JSONResponse({"status": "ready" if good else "not_ready", **checks}, 200 if good else 503)


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
        return bool(await held.redis.ping())
    except (RedisError, OSError):
        return False
