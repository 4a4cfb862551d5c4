"""Versions as the API returns them. Reads only."""

from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.operations.releases import versions

_FIELDS = (
    "model",
    "label",
    "counter",
    "floor",
    "state",
    "problem",
    "notes",
    "manifest_sha256",
    "barrier",
    "created_by",
    "created_at",
    "ready_at",
)


def version_view(session: Session, row: store.versions.VersionRow) -> dict[str, Any]:
    """A version with its variants, the contents of its files, and the digests that are not uploaded yet."""
    return {
        **{name: getattr(row, name) for name in _FIELDS},
        "variants": [_variant_view(variant) for variant in row.variants],
        "pending": sorted(_missing_blobs(session, row)),
        "awaits_manifest": versions.awaits_manifest(row),
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


def _missing_blobs(session: Session, row: store.versions.VersionRow) -> set[str]:
    blobs = {part.blob_sha256: part.blob for part in versions.all_components(row)}
    return {sha256 for sha256, blob in blobs.items() if not store.blobs.is_uploaded(session, blob)}
