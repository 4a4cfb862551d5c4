"""The configuration as a document: everything that people have declared, with defaults filled in.

It does not contain what devices and gates have done since, and of the rollouts only drafts.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts.stages import stage_requirements
from service.operations.platform import webhooks
from service.operations.releases import models
from service.operations.rollouts import templates
from service.operations.rollouts.drafts import RolloutDeclaration, StageDeclaration

Document = dict[str, Any]


def export(session: Session, *, include_members: bool = False) -> dict[str, list[Document]]:
    """The current configuration: section -> resources by name.

    Args:
        session: the transaction.
        include_members: with the member lists of cohorts, which may be long.
    """
    members = store.cohorts.cohort_members(session) if include_members else {}
    return {
        "models": [{"name": row.name, **model(row)} for row in models.list_all(session)],
        "cohorts": [
            {
                "name": row.name,
                **cohort(row),
                "devices": sorted(members[row.name]) if row.name in members else None,
            }
            for row in store.cohorts.cohorts(session)
        ],
        "templates": [{"name": row.name, **template(row)} for row in templates.list_all(session)],
        "webhooks": [{"name": row.name, **webhook(row)} for row in webhooks.list_all(session)],
        "rollouts": [{"name": row.name, **rollout(session, row)} for row in store.rollouts.drafts(session)],
    }


def etag(session: Session) -> str:
    """A hash that changes with the configuration; member lists are covered by the time of their last change."""
    times = [row.updated_at.isoformat() for row in store.cohorts.cohorts(session)]
    content = json.dumps([export(session), times], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def model(row: store.versions.ModelRow) -> Document:
    """A model."""
    return {"description": row.description}


def cohort(row: store.cohorts.CohortRow) -> Document:
    """A cohort without its member list."""
    return {"description": row.description, "rule": row.rule}


def template(row: store.templates.TemplateRow) -> Document:
    """A rollout template."""
    return {"description": row.description, **row.body}


def webhook(row: store.webhooks.WebhookRow) -> Document:
    """A webhook without its secret."""
    return {"url": row.url, "event_types": row.event_types, "active": row.active}


def rollout(session: Session, row: store.rollouts.RolloutRow) -> Document:
    """A stored rollout."""
    version = store.versions.version_by_id(session, row.version_id)
    return {
        "model": row.model,
        "version": version.label if version else "",
        "stages": [_stage(stage) for stage in row.stages],
        "on_breach": row.on_breach,
        "priority": row.priority,
        "policy": row.policy,
    }


def declared_rollout(declared: RolloutDeclaration) -> Document:
    """A declared rollout in the same form."""
    return {
        "model": declared.model,
        "version": declared.version,
        "stages": [_stage(stage) for stage in declared.stages],
        "on_breach": declared.on_breach,
        "priority": declared.priority,
        "policy": declared.policy,
    }


def _stage(stage: store.rollouts.StageRow | StageDeclaration) -> Document:
    """A stage with all requirements, so that an omitted requirement equals its default."""
    return {
        "cohort": stage.cohort,
        "percent": stage.percent,
        "advance_when": asdict(stage_requirements(stage.advance_when)),
        "gates": list(stage.gates),
    }
