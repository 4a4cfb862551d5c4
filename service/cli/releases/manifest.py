"""Build and sign the manifest of a version on the publisher's machine.

The manifest takes digests and sizes from local files. It takes only the counter, the floor and the file formats
from the server, so a compromised server cannot get a signature over a file that was not on this machine.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sdk_contract.documents import Component, Manifest, Variant, format_timestamp
from sdk_contract.signing import Signer
from service.cli.errors import CliError

LIFETIME = timedelta(days=5 * 365)


def signed_manifest(
    declaration: Mapping[str, Any],
    model: str,
    version: Mapping[str, Any],
    signers: Sequence[Signer],
    *,
    now: datetime,
) -> bytes:
    """The signed manifest, as a DSSE envelope.

    Args:
        declaration: the version as this machine declared it: `label`, `floor`, `variants`.
        model: name of the model.
        version: the version as the server returns it: `counter`, `floor`, and the format of each component.
        signers: publisher keys, as many as the role's threshold.
        now: issue time.

    Raises:
        CliError: the server returns a floor although none was declared.
    """
    if declaration["floor"] is None and version["floor"] != 0:
        raise CliError(
            f"the server returned the floor {version['floor']}, but no --floor was given; nothing was signed"
        )
    manifest = Manifest(
        model=model,
        version=declaration["label"],
        counter=version["counter"],
        floor=version["floor"],
        issued=format_timestamp(now),
        expires=format_timestamp(now + LIFETIME),
        variants=[_variant(variant, _formats(version)) for variant in declaration["variants"]],
    )
    return manifest.sign(signers)


def _variant(declared: Mapping[str, Any], formats: Mapping[str, str]) -> Variant:
    return Variant(
        name=declared["name"],
        selector=declared["selector"],
        priority=declared["priority"],
        components=[
            Component(**file, format=formats.get(file["sha256"], "opaque")) for file in declared["components"]
        ],
    )


def _formats(version: Mapping[str, Any]) -> dict[str, str]:
    """sha256 -> file format; devices treat it as information only, so the server's word is enough."""
    return {
        component["sha256"]: component["format"]
        for variant in version["variants"]
        for component in variant["components"]
    }
