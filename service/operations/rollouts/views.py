"""Rollouts as the API returns them. Reads only."""

from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.operations.rollouts import rollback_patches

_FIELDS = (
    "id",
    "name",
    "model",
    "state",
    "stage",
    "stage_since",
    "on_breach",
    "priority",
    "policy",
    "reason",
    "created_by",
    "created_at",
    "started_at",
    "ended_at",
    "waiting_for",
    "activated_at",
)
_STAGE_FIELDS = ("ordinal", "cohort", "percent", "advance_when", "gates")
_EVENT_FIELDS = ("at", "kind", "actor", "reason", "detail")


def rollout_view(session: Session, row: store.rollouts.RolloutRow) -> dict[str, Any]:
    """A rollout with its stages, their outcomes so far, its approvals and its history."""
    version = store.versions.version_by_id(session, row.version_id)
    counts = store.outcomes.counts_by_stage(session, row.id)
    return {
        **{name: getattr(row, name) for name in _FIELDS},
        "version": version.label if version else "",
        "rollback_patches": _pending_rollback_patches(session, row),
        "rollback_outcomes": store.outcomes.rollback_counts(session, row.id),
        "paused_classes": [
            entry["device_class"] for entry in row.paused_classes if "resumed_at" not in entry
        ],
        "approvals": [
            {name: getattr(approval, name) for name in ("actor", "at", "reason")}
            for approval in store.rollouts.approvals(session, row.id)
        ],
        "stages": [
            {name: getattr(stage, name) for name in _STAGE_FIELDS}
            | {"outcomes": counts.get(stage.ordinal, {})}
            for stage in row.stages
        ],
        "history": [
            {"sequence": event.id} | {name: getattr(event, name) for name in _EVENT_FIELDS}
            for event in store.rollouts.history(session, row.id)
        ],
    }


def _pending_rollback_patches(session: Session, row: store.rollouts.RolloutRow) -> list[str]:
    waiting = row.state == "scheduled" and rollback_patches.is_required(row)
    return rollback_patches.describe_pending(session, row) if waiting else []
