"""Routes of cohorts."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.cohorts import CohortBody, CohortSizeView, CohortView
from service.operations.fleet import cohorts

router = APIRouter(
    prefix="/v1/admin/cohorts", tags=["cohorts"], responses=RESPONSES, route_class=IdempotentRoute
)

CohortName = Annotated[Name, Path(description="Name of the cohort.")]


@router.get("", summary="List the cohorts")
def list_cohorts(session: ReadOnly, _caller: Viewer) -> list[CohortView]:
    """Return all cohorts, by name."""
    return [CohortView.model_validate(view) for view in cohorts.views(session)]


@router.get("/{name}", summary="Get a cohort")
def get_cohort(name: CohortName, session: ReadOnly, _caller: Viewer) -> CohortView:
    """Return the rule of a cohort, and the number of devices on its list."""
    return CohortView.model_validate(cohorts.view(session, cohorts.require(session, name)))


@router.get("/{name}/size", summary="Count the devices in a cohort")
def get_cohort_size(name: CohortName, session: ReadOnly, _caller: Viewer, now: Now) -> CohortSizeView:
    """Count the enrolled devices in service, by the attributes that they last reported."""
    row = cohorts.require(session, name)
    return CohortSizeView(name=name, **cohorts.count_devices(session, row, now=now))


@router.put("/{name}", summary="Create or replace a cohort")
def put_cohort(
    name: CohortName, body: CohortBody, session: Transaction, caller: ReleaseManager, now: Now
) -> CohortView:
    """Running rollouts use the change within two seconds. `devices: null` leaves the list unchanged."""
    declaration = cohorts.CohortDeclaration(name, body.rule, body.devices, body.description)
    row = cohorts.put(session, declaration, actor=caller.name, now=now)
    return CohortView.model_validate(cohorts.view(session, row))


@router.delete("/{name}", status_code=204, summary="Delete a cohort")
def delete_cohort(name: CohortName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """Refused while a rollout, a template or another cohort uses it."""
    cohorts.delete(session, name, actor=caller.name, now=now)
