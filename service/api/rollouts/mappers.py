"""Convert the bodies of rollouts and templates into declarations."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Session

from service.api.schemas.rollouts import RolloutBody, RolloutSpec, StageBody, TemplateBody
from service.operations.rollouts import templates
from service.operations.rollouts.drafts import RolloutDeclaration, StageDeclaration
from service.operations.rollouts.templates import TemplateDeclaration


def rollout_declaration(
    session: Session,
    body: RolloutBody,
    unsaved_templates: Mapping[str, TemplateDeclaration] = MappingProxyType({}),
) -> RolloutDeclaration:
    """Convert the body of a rollout, completed from its template.

    Args:
        session: for reading the template.
        body: the body.
        unsaved_templates: name -> template of the same configuration document.

    Raises:
        NotFound: there is no such template.
    """
    body = _complete(session, body, unsaved_templates)
    return RolloutDeclaration(
        name=body.name,
        model=body.model,
        version=body.version,
        stages=_stage_declarations(body.stages),
        on_breach=body.on_breach,
        priority=body.priority,
        policy=_policy(body),
    )


def template_declaration(name: str, body: TemplateBody) -> TemplateDeclaration:
    """Convert the body of a template."""
    return TemplateDeclaration(
        name=name,
        stages=_stage_declarations(body.stages),
        policy=_policy(body),
        body=body.model_dump(mode="json", exclude_defaults=True, exclude={"name", "description"}),
        description=body.description,
    )


def _complete(
    session: Session, body: RolloutBody, unsaved_templates: Mapping[str, TemplateDeclaration]
) -> RolloutBody:
    if body.template is None:
        return body
    declared = body.model_dump(mode="json", exclude_unset=True, exclude={"template"})
    completed = templates.complete(session, body.template, declared, unsaved=unsaved_templates)
    return RolloutBody.model_validate(completed)


def _stage_declarations(stages: Sequence[StageBody]) -> list[StageDeclaration]:
    return [
        StageDeclaration(
            cohort=stage.cohort,
            percent=stage.percent,
            advance_when=stage.advance_when.model_dump(),
            gates=stage.gates,
        )
        for stage in stages
    ]


def _policy(body: RolloutSpec) -> dict[str, Any]:
    return body.policy.model_dump(mode="json", exclude_defaults=True)
