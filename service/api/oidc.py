"""Where CI exchanges its identity token (OIDC) for a short token of ours."""

import asyncio

from fastapi import APIRouter
from redis.exceptions import RedisError

from service import database, tokens
from service.api.dependencies import Held, Now
from service.api.office_schemas import ExchangeBody, ExchangeView
from service.api.problems import RESPONSES
from service.errors import Conflict, Replayed, Unavailable
from service.operations import workloads

router = APIRouter(prefix="/v1/admin/oidc", tags=["office"], responses=RESPONSES)


@router.post("/exchange", status_code=201, summary="A short token for a CI job")
async def exchange(body: ExchangeBody, held: Held, now: Now) -> ExchangeView:
    """Issuer, audience and repository are pinned by this server's settings; each identity token is good once."""
    kid = tokens.read(body.token).key_name
    if held.workloads is None:
        raise Conflict("no identity provider for CI is set up here; see GRAYLAG_CI_ISSUER")
    key = await held.workloads.keys.find(kid)
    claims = tokens.verify_provider_token(body.token, key, held.workloads.rules, now)
    jti = tokens.unique_id(claims)
    try:
        fresh = await held.redis.set(f"graylag:ci:{jti}", b"1", nx=True, ex=held.workloads.rules.lifetime_s)
    except (RedisError, OSError) as error:
        raise Unavailable("cannot tell whether this was sent before", retry_after_s=5) from error
    if not fresh:
        raise Replayed("this identity token was exchanged before", field="token")

    def run() -> str:
        with database.transaction(held.engine) as session:
            return workloads.exchange(session, claims, held.settings.ci_repository_ids, now=now)

    seconds = int(workloads.LIFETIME.total_seconds())
    return ExchangeView(token=await asyncio.to_thread(run), expires_in=seconds)
