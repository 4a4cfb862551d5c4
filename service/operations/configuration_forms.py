"""The configuration as a document: what people have written down, with all that they may say of it.

What devices and gates have done since is not part of it, and of the rollouts only drafts are.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import hold_of
from service.operations import models, templates, webhooks
from service.operations.rollouts import RolloutDeclaration, StageDeclaration

Form = dict[str, Any]


def read(session: Session, *, lists: bool = False) -> dict[str, list[Form]]:
    """The configuration as it is: section -> things by name.

    Args:
        session: to read with.
        lists: with the ids that cohorts list; they may be many.
    """
    members = store.cohorts.cohort_members(session) if lists else {}
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
    """A string that is another whenever the configuration is; lists of ids count by when they were changed."""
    times = [row.updated_at.isoformat() for row in store.cohorts.cohorts(session)]
    content = json.dumps([read(session), times], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def model(row: store.versions.ModelRow) -> Form:
    """A model."""
    return {"description": row.description}


def cohort(row: store.cohorts.CohortRow) -> Form:
    """A cohort, without its list."""
    return {"description": row.description, "rule": row.rule}


def template(row: store.templates.TemplateRow) -> Form:
    """A template."""
    return {"description": row.description, **row.body}


def webhook(row: store.webhooks.WebhookRow) -> Form:
    """A webhook, without its secret."""
    return {"url": row.url, "kinds": row.kinds, "active": row.active}


def rollout(session: Session, row: store.rollouts.RolloutRow) -> Form:
    """A rollout as it was written down."""
    version = store.versions.version_by_id(session, row.version_id)
    return {
        "model": row.model,
        "version": version.label if version else "",
        "stages": [_stage(stage) for stage in row.stages],
        "on_breach": row.on_breach,
        "priority": row.priority,
        "policy": row.policy,
    }


def declared_rollout(declared: RolloutDeclaration) -> Form:
    """A rollout as it is to be written down."""
    return {
        "model": declared.model,
        "version": declared.version,
        "stages": [_stage(stage) for stage in declared.stages],
        "on_breach": declared.on_breach,
        "priority": declared.priority,
        "policy": declared.policy,
    }


def _stage(stage: store.rollouts.StageRow | StageDeclaration) -> Form:
    """A stage with all that a hold may say: one of an older release says less, and means the same."""
    return {
        "cohort": stage.cohort,
        "percent": stage.percent,
        "hold": asdict(hold_of(stage.hold)),
        "gates": list(stage.gates),
    }
