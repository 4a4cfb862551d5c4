"""What people are shown of rows, put together from several tables. Reads only."""

from typing import Any

from sqlalchemy.orm import Session

from sdk_contract.envelope import key_id
from service import store
from service.operations import rehearsal, versions


def version_view(session: Session, row: store.versions.VersionRow) -> dict[str, Any]:
    """A version with its variants, what is inside its files, and what has not arrived."""
    fields = (
        "model",
        "label",
        "counter",
        "floor",
        "state",
        "problem",
        "notes",
        "manifest_sha256",
        "watershed",
    )
    times = ("created_by", "created_at", "ready_at")
    return {
        **{name: getattr(row, name) for name in (*fields, *times)},
        "variants": [_variant_view(variant) for variant in row.variants],
        "pending": sorted(_pending(session, row)),
        "awaits_manifest": versions.awaits_manifest(row),
    }


def rollout_view(session: Session, row: store.rollouts.RolloutRow) -> dict[str, Any]:
    """A rollout with its stages, their outcomes so far, and its history."""
    version = store.versions.version_by_id(session, row.version_id)
    tallies = store.rollups.tallies(session, row.id)
    fields = (
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
    )
    times = ("created_by", "created_at", "started_at", "ended_at", "waits_for", "activated_at")
    return {
        **{name: getattr(row, name) for name in (*fields, *times)},
        "delays": rehearsal.delays(session, row) if _rehearses(row) else [],
        "approvals": [
            {name: getattr(given, name) for name in ("actor", "at", "reason")}
            for given in store.rollouts.approvals(session, row.id)
        ],
        "held": [entry["stratum"] for entry in row.held if "released_at" not in entry],
        "returns": store.rollups.returns(session, row.id),
        "version": version.label if version else "",
        "stages": [
            {
                **{name: getattr(stage, name) for name in ("ordinal", "cohort", "percent", "hold", "gates")},
                "outcomes": tallies.get(stage.ordinal, {}),
            }
            for stage in row.stages
        ],
        "history": [
            {"sequence": event.id}
            | {name: getattr(event, name) for name in ("at", "kind", "actor", "reason", "detail")}
            for event in store.rollouts.history(session, row.id)
        ],
    }


def _rehearses(row: store.rollouts.RolloutRow) -> bool:
    return row.state == "scheduled" and rehearsal.wanted(row)


def device_view(session: Session, row: store.devices.DeviceRow) -> dict[str, Any]:
    """A device with what it runs."""
    fields = ("id", "status", "attributes", "admin_attributes", "enrolled_at", "seen_at")
    return {
        **{name: getattr(row, name) for name in fields},
        "key_id": key_id(row.public_key) if row.public_key else None,
        "pending_key_id": key_id(row.pending_key) if row.pending_key else None,
        "models": row.models,
        "installations": store.devices.installations(session, row.id),
    }


def _variant_view(row: store.versions.VariantRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "selector": row.selector,
        "priority": row.priority,
        "components": [
            {
                "name": part.name,
                "path": part.path,
                "sha256": part.blob_sha256,
                "size": part.blob.size,
                "stored": part.blob.stored,
                "format": part.blob.format,
                "contents": part.blob.contents,
            }
            for part in row.components
        ],
    }


def _pending(session: Session, row: store.versions.VersionRow) -> set[str]:
    blobs = {part.blob_sha256: part.blob for variant in row.variants for part in variant.components}
    return {sha256 for sha256, blob in blobs.items() if not store.versions.has_arrived(session, blob)}
