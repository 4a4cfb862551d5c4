"""From bodies to what operations are told: rollouts, templates, and the document of everything."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from service.api.schemas.config import ConfigBody
from service.api.schemas.rollouts import CourseBody, RolloutBody, StageBody, TemplateBody
from service.errors import NotFound
from service.operations.configuration.resources import DesiredConfig, ModelDeclaration
from service.operations.fleet.cohorts import CohortDeclaration
from service.operations.platform.webhooks import WebhookDeclaration
from service.operations.rollouts import drafts, templates
from service.operations.rollouts.drafts import RolloutDeclaration, StageDeclaration
from service.operations.rollouts.templates import TemplateDeclaration

Named = TypeVar("Named")
Declared = TypeVar("Declared")


def filled(session: Session, body: RolloutBody) -> RolloutBody:
    """The body, with what it leaves out as in its template.

    Raises:
        NotFound: there is no such template.
    """
    if body.template is None:
        return body
    return _merged(body, templates.require(session, body.template).body)


def _merged(body: RolloutBody, copied: Mapping[str, Any]) -> RolloutBody:
    said = body.model_dump(mode="json", exclude_unset=True, exclude={"template"})
    policy = {**copied.get("policy", {}), **said.get("policy", {})}
    return RolloutBody.model_validate({**copied, **said, "policy": policy})


def rollout_of(body: RolloutBody) -> RolloutDeclaration:
    """A rollout whose body is whole."""
    return drafts.RolloutDeclaration(
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
        body=body.model_dump(mode="json", exclude_defaults=True, exclude={"name", "description"}),
        description=body.description,
    )


def wanted_of(session: Session, body: ConfigBody) -> DesiredConfig:
    """The document; its rollouts may be made from templates in it, or from those that are there.

    Raises:
        NotFound: a rollout names a template that is nowhere; `field` says which.
    """
    new = {one.name: template_of(one.name, one) for one in body.templates or ()}
    return DesiredConfig(
        models=_each(body.models, lambda one: ModelDeclaration(one.name, one.description)),
        cohorts=_each(
            body.cohorts, lambda one: CohortDeclaration(one.name, one.rule, one.devices, one.description)
        ),
        templates=_each(body.templates, lambda one: template_of(one.name, one)),
        webhooks=_each(
            body.webhooks, lambda one: WebhookDeclaration(one.name, one.url, one.event_types, one.active)
        ),
        rollouts=None
        if body.rollouts is None
        else [_rollout_at(session, index, one, new) for index, one in enumerate(body.rollouts)],
    )


def _rollout_at(
    session: Session, index: int, body: RolloutBody, new: Mapping[str, TemplateDeclaration]
) -> RolloutDeclaration:
    if body.template is not None and body.template in new:
        return rollout_of(_merged(body, new[body.template].body))
    try:
        return rollout_of(filled(session, body))
    except NotFound as error:
        raise NotFound(error.detail, field=f"rollouts.{index}.template") from error


def _each(section: Sequence[Named] | None, declare: Callable[[Named], Declared]) -> list[Declared] | None:
    return None if section is None else [declare(one) for one in section]


def stages_of(stages: Sequence[StageBody]) -> list[StageDeclaration]:
    """Stages in their order."""
    return [
        StageDeclaration(
            cohort=stage.cohort, percent=stage.percent, advance_when=stage.advance_when.model_dump(), gates=stage.gates
        )
        for stage in stages
    ]


def _policy_of(body: CourseBody) -> dict[str, Any]:
    return body.policy.model_dump(mode="json", exclude_defaults=True)
