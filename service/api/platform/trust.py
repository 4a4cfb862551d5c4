"""Trust bundles: add the next one."""

from fastapi import APIRouter

from service.api.dependencies import (
    Admin,
    Now,
    Transaction,
    envelope_of,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.schemas.platform import (
    TrustBody,
    TrustView,
)
from service.api.problems import RESPONSES
from service.operations.platform import trust

router = APIRouter(prefix="/v1/admin", tags=["trust"], responses=RESPONSES, route_class=IdempotentRoute)


@router.post("/trust", status_code=201, summary="Hand in a trust bundle")
def add_trust_bundle(body: TrustBody, session: Transaction, caller: Admin, now: Now) -> TrustView:
    """The first one, or version N+1 signed by the roots of N and of N+1."""
    version = trust.add(session, envelope_of(body.envelope), actor=caller.name, now=now)
    return TrustView(version=version)
