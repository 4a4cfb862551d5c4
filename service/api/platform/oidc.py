"""Route on which a CI job exchanges its identity token (OpenID Connect) for a temporary API token."""

import asyncio

from fastapi import APIRouter

from service.api.dependencies import Now, State
from service.api.problems import RESPONSES
from service.api.schemas.platform import CiTokenBody, CiTokenView
from service.errors import Conflict
from service.infrastructure import database, tokens
from service.operations.platform import workload_identity

router = APIRouter(prefix="/v1/admin/oidc", tags=["tokens"], responses=RESPONSES)


@router.post("/exchange", status_code=201, summary="Exchange the identity token of a CI job")
async def exchange_ci_token(body: CiTokenBody, state: State, now: Now) -> CiTokenView:
    """Return a temporary API token for uploads.

    The settings of the server fix issuer, audience and repository. Each identity token can be exchanged once.
    """
    kid = tokens.parse_jwt(body.token).key_id
    if state.ci_provider is None:
        raise Conflict("this server accepts no CI tokens; set GRAYLAG_CI_ISSUER to the CI platform's issuer")
    key = await state.ci_provider.keys.find(kid)
    claims = tokens.verify_provider_token(body.token, key, state.ci_provider.rules, now)
    jti = tokens.token_id(claims)
    await state.replay_cache.require_first_use(
        f"ci:{jti}", ttl_s=state.ci_provider.rules.max_lifetime_s, field="token"
    )

    def create_token() -> str:
        with database.transaction(state.engine) as session:
            return workload_identity.exchange_token(
                session, claims, state.settings.ci_repository_ids, now=now
            )

    lifetime_s = int(workload_identity.LIFETIME.total_seconds())
    return CiTokenView(token=await asyncio.to_thread(create_token), expires_in=lifetime_s)
