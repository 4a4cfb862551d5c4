"""Where CI exchanges its identity token (OIDC) for a short token of ours."""

import asyncio

from fastapi import APIRouter

from service import database, tokens
from service.api.dependencies import Held, Now
from service.api.schemas.platform import ExchangeBody, ExchangeView
from service.api.problems import RESPONSES
from service.errors import Conflict
from service.operations.platform import workload_identity

router = APIRouter(prefix="/v1/admin/oidc", tags=["tokens"], responses=RESPONSES)


@router.post("/exchange", status_code=201, summary="A short token for a CI job")
async def exchange(body: ExchangeBody, held: Held, now: Now) -> ExchangeView:
    """Issuer, audience and repository are pinned by this server's settings; each identity token is good once."""
    kid = tokens.parse_jwt(body.token).key_id
    if held.ci_provider is None:
        raise Conflict("no identity provider for CI is set up here; see GRAYLAG_CI_ISSUER")
    key = await held.ci_provider.keys.find(kid)
    claims = tokens.verify_provider_token(body.token, key, held.ci_provider.rules, now)
    jti = tokens.token_id(claims)
    await held.replay_cache.require_first_use(
        f"ci:{jti}", ttl_s=held.ci_provider.rules.max_lifetime_s, field="token"
    )

    def run() -> str:
        with database.transaction(held.engine) as session:
            return workload_identity.exchange_token(session, claims, held.settings.ci_repository_ids, now=now)

    seconds = int(workload_identity.LIFETIME.total_seconds())
    return ExchangeView(token=await asyncio.to_thread(run), expires_in=seconds)
