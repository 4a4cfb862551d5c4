"""Routes of API tokens and enrollment tokens."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.dependencies import Admin, Now, Transaction
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.platform import ApiTokenBody, EnrollmentTokenBody, SecretView
from service.operations.fleet import enrollment
from service.operations.platform import api_tokens

router = APIRouter(prefix="/v1/admin", tags=["tokens"], responses=RESPONSES, route_class=IdempotentRoute)


@router.post("/tokens", status_code=201, summary="Create an API token")
def create_api_token(body: ApiTokenBody, session: Transaction, caller: Admin, now: Now) -> SecretView:
    """Only this response contains the token."""
    secret = api_tokens.create(
        session,
        body.name,
        body.scope,
        actor=caller.name,
        now=now,
        expires_at=body.expires_at,
        person=body.person,
    )
    return SecretView(name=body.name, token=secret)


@router.delete("/tokens/{name}", status_code=204, summary="Revoke an API token")
def revoke_api_token(
    name: Annotated[Name, Path(description="Name of the token.")],
    session: Transaction,
    caller: Admin,
    now: Now,
) -> None:
    """The token becomes invalid at once."""
    api_tokens.revoke(session, name, actor=caller.name, now=now)


@router.post("/enrollment-tokens", status_code=201, summary="Create an enrollment token")
def create_enrollment_token(
    body: EnrollmentTokenBody, session: Transaction, caller: Admin, now: Now
) -> SecretView:
    """Only this response contains the token."""
    secret = enrollment.create_token(
        session,
        body.name,
        actor=caller.name,
        now=now,
        max_uses=body.max_uses,
        expires_at=body.expires_at,
        models=body.models,
    )
    return SecretView(name=body.name, token=secret)
