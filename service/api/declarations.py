"""From bodies to what operations are told: rollouts and templates."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from service.api.rollout_schemas import CourseBody, RolloutBody, StageBody, TemplateBody
from service.operations import rollouts, templates
from service.operations.rollouts import RolloutDeclaration, StageDeclaration
from service.operations.templates import TemplateDeclaration


def filled(session: Session, body: RolloutBody) -> RolloutBody:
    """The body, with what it leaves out as in its template.

    Raises:
        NotFound: there is no such template.
    """
    if body.template is None:
        return body
    copied = templates.require(session, body.template).body
    said = body.model_dump(mode="json", exclude_unset=True, exclude={"template"})
    policy = {**copied.get("policy", {}), **said.get("policy", {})}
    return RolloutBody.model_validate({**copied, **said, "policy": policy})


def rollout_of(body: RolloutBody) -> RolloutDeclaration:
    """A rollout whose body is whole."""
    return rollouts.RolloutDeclaration(
        name=body.name,
        model=body.model,
        version=body.version,
        stages=stages_of(body.stages),
        on_breach=body.on_breach,
        priority=body.priority,
        policy=_policy_of(body),
    )


def template_of(name: str, body: TemplateBody) -> TemplateDeclaration:
    """A template of that name."""
    return TemplateDeclaration(
        name=name,
        stages=stages_of(body.stages),
        policy=_policy_of(body),
        body=body.model_dump(mode="json", exclude_defaults=True, exclude={"description"}),
        description=body.description,
    )


def stages_of(stages: Sequence[StageBody]) -> list[StageDeclaration]:
    """Stages in their order."""
    return [
        StageDeclaration(
            cohort=stage.cohort, percent=stage.percent, hold=stage.hold.model_dump(), gates=stage.gates
        )
        for stage in stages
    ]


def _policy_of(body: CourseBody) -> dict[str, Any]:
    return body.policy.model_dump(mode="json", exclude_defaults=True)
