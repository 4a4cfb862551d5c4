"""Convert the bodies of versions into declarations."""

from service.api.schemas.base import VariantBody, VersionBody
from service.operations.releases.declarations import (
    ComponentDeclaration,
    VariantDeclaration,
    VersionDeclaration,
)


def version_declaration(body: VersionBody) -> VersionDeclaration:
    """Convert the body of a version."""
    return VersionDeclaration(
        label=body.label,
        counter=body.counter,
        floor=body.floor,
        notes=body.notes,
        signed_by_publisher=body.signed_by_publisher,
        barrier=body.barrier,
        variants=[_variant_declaration(variant) for variant in body.variants],
    )


def _variant_declaration(body: VariantBody) -> VariantDeclaration:
    return VariantDeclaration(
        name=body.name,
        selector=body.selector,
        priority=body.priority,
        components=[
            ComponentDeclaration(file.name, file.path, file.size, file.sha256) for file in body.components
        ],
    )
