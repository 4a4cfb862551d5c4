"""Routes of rollout templates."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Name
from service.api.dependencies import Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.rollouts.mappers import template_declaration
from service.api.schemas.rollouts import TemplateBody, TemplateView
from service.operations.rollouts import templates

router = APIRouter(
    prefix="/v1/admin/templates", tags=["templates"], responses=RESPONSES, route_class=IdempotentRoute
)

TemplateName = Annotated[Name, Path(description="Name of the template.")]


@router.get("", summary="List the templates")
def list_templates(session: ReadOnly, _caller: Viewer) -> list[TemplateView]:
    """Return all templates, by name."""
    return [TemplateView.model_validate(row) for row in templates.list_all(session)]


@router.get("/{name}", summary="Get a template")
def get_template(name: TemplateName, session: ReadOnly, _caller: Viewer) -> TemplateView:
    """Return the fields that the template provides to rollouts."""
    return TemplateView.model_validate(templates.require(session, name))


@router.put("/{name}", summary="Create or replace a template")
def put_template(
    name: TemplateName, body: TemplateBody, session: Transaction, caller: ReleaseManager, now: Now
) -> TemplateView:
    """Validated like a rollout. Rollouts that were created from the template do not change."""
    row = templates.put(session, template_declaration(name, body), actor=caller.name, now=now)
    return TemplateView.model_validate(row)


@router.delete("/{name}", status_code=204, summary="Delete a template")
def delete_template(name: TemplateName, session: Transaction, caller: ReleaseManager, now: Now) -> None:
    """Rollouts that were created from the template do not change."""
    templates.delete(session, name, actor=caller.name, now=now)
