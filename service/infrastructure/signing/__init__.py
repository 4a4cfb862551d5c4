"""Signing keys: load them by URI, create them, and build the trust bundle that names them."""

from service.infrastructure.signing.private_keys import (
    URI_SCHEMES,
    KeyUnusable,
    LocalSigner,
    create_key,
    load_signer,
    with_libsodium,
)
from service.infrastructure.signing.trust_bundles import (
    ROLES,
    countersign,
    first_trust_bundle,
    valid_signatures,
)

__all__ = [
    "ROLES",
    "URI_SCHEMES",
    "KeyUnusable",
    "LocalSigner",
    "countersign",
    "create_key",
    "first_trust_bundle",
    "load_signer",
    "valid_signatures",
    "with_libsodium",
]
