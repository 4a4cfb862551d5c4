"""Running the place: jobs, audit log, tokens, trust bundles."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query

from sdk_contract.documents import Name
from service.api.dependencies import (
    Admin,
    JobBell,
    Now,
    ReadOnly,
    ReleaseManager,
    Transaction,
    Viewer,
    envelope_of,
)
from service.api.idempotency import IdempotentRoute
from service.api.office_schemas import (
    ApiTokenBody,
    AuditView,
    EnrolmentTokenBody,
    JobView,
    SecretView,
    TrustBody,
    TrustView,
)
from service.api.problems import RESPONSES
from service.operations import access, audit, enrolments, jobs, trust, versions

router = APIRouter(prefix="/v1/admin", tags=["office"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/jobs", summary="Background work")
def list_jobs(
    session: ReadOnly,
    _caller: Viewer,
    state: Annotated[Literal["queued", "running", "done", "dead"] | None, Query()] = None,
) -> list[JobView]:
    """The newest 100, newest first."""
    return [JobView.model_validate(row) for row in jobs.list_all(session, state=state)]


@router.post("/jobs/{job_id}/requeue", summary="Give a dead job another round")
def requeue_job(
    job_id: UUID, session: Transaction, bell: JobBell, _caller: ReleaseManager, now: Now
) -> JobView:
    """Once what killed it has been mended."""
    row = jobs.requeue(session, bell, job_id, now=now)
    versions.reopen(session, row.kind, row.args)
    return JobView.model_validate(row)


@router.get("/audit", summary="Who did what and why")
def list_audit(
    session: ReadOnly,
    _caller: Viewer,
    after: Annotated[int, Query(ge=0, lt=2**63, description="Go on behind this id.")] = 0,
    before: Annotated[
        int | None, Query(ge=0, lt=2**63, description="The newest entries before this id instead.")
    ] = None,
    subject: Annotated[
        str | None, Query(max_length=300, description="About this only, for example rollout:autumn.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[AuditView]:
    """Oldest first; ask again with the last id as `after`. Each hash covers its entry and the hash before."""
    rows = audit.page(session, after=after, before=before, subject=subject, limit=limit)
    return [AuditView.model_validate(row) for row in rows]


@router.post("/tokens", status_code=201, summary="Make an API token")
def create_api_token(body: ApiTokenBody, session: Transaction, caller: Admin, now: Now) -> SecretView:
    """Shown this once."""
    secret = access.create_api_token(
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
    """At once."""
    access.revoke_api_token(session, name, actor=caller.name, now=now)


@router.post("/enrolment-tokens", status_code=201, summary="Make an enrolment token")
def create_enrolment_token(
    body: EnrolmentTokenBody, session: Transaction, caller: Admin, now: Now
) -> SecretView:
    """Shown this once."""
    secret = enrolments.create_enrolment_token(
        session,
        body.name,
        actor=caller.name,
        now=now,
        max_uses=body.max_uses,
        expires_at=body.expires_at,
        models=body.models,
    )
    return SecretView(name=body.name, token=secret)


@router.post("/trust", status_code=201, summary="Hand in a trust bundle")
def add_trust_bundle(body: TrustBody, session: Transaction, caller: Admin, now: Now) -> TrustView:
    """The first one, or version N+1 signed by the roots of N and of N+1."""
    version = trust.add(session, envelope_of(body.envelope), actor=caller.name, now=now)
    return TrustView(version=version)
