"""Convert the configuration document into declarations."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from service.api.rollouts.mappers import rollout_declaration, template_declaration
from service.api.schemas.config import ConfigBody
from service.api.schemas.rollouts import RolloutBody
from service.errors import NotFound
from service.operations.configuration.resources import DesiredConfig, ModelDeclaration
from service.operations.fleet.cohorts import CohortDeclaration
from service.operations.platform.webhooks import WebhookDeclaration
from service.operations.rollouts.drafts import RolloutDeclaration
from service.operations.rollouts.templates import TemplateDeclaration

Item = TypeVar("Item")
Declaration = TypeVar("Declaration")


def desired_config(session: Session, body: ConfigBody) -> DesiredConfig:
    """Convert the document. Its rollouts may use templates of the document and stored ones.

    Raises:
        NotFound: a rollout names an unknown template; `field` says which.
    """
    templates = _each(body.templates, lambda item: template_declaration(item.name, item))
    unsaved = {template.name: template for template in templates or ()}
    return DesiredConfig(
        models=_each(body.models, lambda item: ModelDeclaration(item.name, item.description)),
        cohorts=_each(
            body.cohorts, lambda item: CohortDeclaration(item.name, item.rule, item.devices, item.description)
        ),
        templates=templates,
        webhooks=_each(
            body.webhooks,
            lambda item: WebhookDeclaration(item.name, item.url, item.event_types, item.active),
        ),
        rollouts=None if body.rollouts is None else _rollouts(session, body.rollouts, unsaved),
    )


def _rollouts(
    session: Session, rollouts: Sequence[RolloutBody], unsaved: Mapping[str, TemplateDeclaration]
) -> list[RolloutDeclaration]:
    declarations = []
    for index, body in enumerate(rollouts):
        try:
            declarations.append(rollout_declaration(session, body, unsaved))
        except NotFound as error:
            raise NotFound(error.detail, field=f"rollouts.{index}.template") from error
    return declarations


def _each(section: Sequence[Item] | None, declare: Callable[[Item], Declaration]) -> list[Declaration] | None:
    """Convert the items of a section; None for an omitted section."""
    return None if section is None else [declare(item) for item in section]
