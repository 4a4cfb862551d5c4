"""Templates: rollouts to copy from."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.rollouts.mappers import template_of
from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.rollouts import TemplateBody, TemplateView
from service.operations.rollouts import templates

router = APIRouter(
    prefix="/v1/admin/templates", tags=["templates"], responses=RESPONSES, route_class=IdempotentRoute
)

TemplateName = Annotated[Name, Path(description="Name of the template.")]


@router.get("", summary="All templates")
def list_templates(session: ReadOnly, _caller: Viewer) -> list[TemplateView]:
    """By name."""
    return [TemplateView.model_validate(row) for row in templates.list_all(session)]


@router.get("/{name}", summary="One template")
def get_template(name: TemplateName, session: ReadOnly, _caller: Viewer) -> TemplateView:
    """What a rollout made from it is like."""
    return TemplateView.model_validate(templates.require(session, name))


@router.put("/{name}", summary="Make or change a template")
def put_template(
    name: TemplateName, body: TemplateBody, session: Transaction, caller: ReleaseManager, now: Now
) -> TemplateView:
    """Checked like a rollout; rollouts that were made from it stay as they are."""
    row = templates.put(session, template_of(name, body), actor=caller.name, now=now)
    return TemplateView.model_validate(row)


@router.delete("/{name}", status_code=204, summary="Remove a template")
def delete_template(name: TemplateName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """Rollouts that were made from it stay."""
    templates.delete(session, name, actor=caller.name, now=now)
