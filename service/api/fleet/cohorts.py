"""Cohorts: parts of the fleet."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.schemas.cohorts import CohortBody, CohortSizeView, CohortView
from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.operations.fleet import cohorts

router = APIRouter(
    prefix="/v1/admin/cohorts", tags=["cohorts"], responses=RESPONSES, route_class=IdempotentRoute
)

CohortName = Annotated[Name, Path(description="Name of the cohort.")]


@router.get("", summary="All cohorts")
def list_cohorts(session: ReadOnly, _caller: Viewer) -> list[CohortView]:
    """By name."""
    return [CohortView.model_validate(view) for view in cohorts.views(session)]


@router.get("/{name}", summary="One cohort")
def get_cohort(name: CohortName, session: ReadOnly, _caller: Viewer) -> CohortView:
    """Its rule and how many devices are listed."""
    return CohortView.model_validate(cohorts.view(session, cohorts.require(session, name)))


@router.get("/{name}/size", summary="How many devices it means")
def size_of_cohort(name: CohortName, session: ReadOnly, _caller: Viewer, now: Now) -> CohortSizeView:
    """Of those that have enrolled and are in service, by what they last said of themselves."""
    row = cohorts.require(session, name)
    return CohortSizeView(name=name, **cohorts.count_devices(session, row, now=now))


@router.put("/{name}", summary="Make or change a cohort")
def put_cohort(
    name: CohortName, body: CohortBody, session: Transaction, caller: ReleaseManager, now: Now
) -> CohortView:
    """A running rollout follows within two seconds. `devices: null` leaves the list as it is."""
    declaration = cohorts.CohortDeclaration(name, body.rule, body.devices, body.description)
    row = cohorts.put(session, declaration, actor=caller.name, now=now)
    return CohortView.model_validate(cohorts.view(session, row))


@router.delete("/{name}", status_code=204, summary="Remove a cohort")
def delete_cohort(name: CohortName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """Refused while a rollout names it."""
    cohorts.delete(session, name, actor=caller.name, now=now)
