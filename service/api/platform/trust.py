"""Route of trust bundles."""

from fastapi import APIRouter

from service.api.dependencies import Admin, Now, Transaction, envelope_bytes
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.platform import TrustBody, TrustView
from service.operations.platform import trust

router = APIRouter(prefix="/v1/admin", tags=["trust"], responses=RESPONSES, route_class=IdempotentRoute)


@router.post("/trust", status_code=201, summary="Add a trust bundle")
def add_trust_bundle(body: TrustBody, session: Transaction, caller: Admin, now: Now) -> TrustView:
    """Add the first bundle, or version N+1, signed by the root keys of N and of N+1."""
    version = trust.add(session, envelope_bytes(body.envelope), actor=caller.name, now=now)
    return TrustView(version=version)
