"""The manifest of a version, made from what lies on this machine and signed here.

The server is asked for nothing but the counter, the floor and what it found inside the files: a server
in the wrong hands gets no signature over a file that was not on this machine.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sdk_contract.documents import Component, Manifest, Variant, timestamp
from sdk_contract.writing import Signer
from service.cli.http import CliError

LIFETIME = timedelta(days=5 * 365)


def signed_manifest(
    declaration: Mapping[str, Any],
    model: str,
    version: Mapping[str, Any],
    signers: Sequence[Signer],
    *,
    now: datetime,
) -> bytes:
    """The envelope to hand in.

    Args:
        declaration: what this machine declared: `label`, `floor`, `variants`.
        model: name of the model.
        version: the server's view of it: `counter`, `floor`, and the format of each component.
        signers: of the publisher role, as many as its threshold asks for.
        now: when it is issued.

    Raises:
        CliError: the server has a floor for it that nobody here asked for.
    """
    if declaration["floor"] is None and version["floor"] != 0:
        raise CliError(f"the server wants the floor {version['floor']}; nothing here asked for one")
    manifest = Manifest(
        model=model,
        version=declaration["label"],
        counter=version["counter"],
        floor=version["floor"],
        issued=timestamp(now),
        expires=timestamp(now + LIFETIME),
        variants=[_variant(variant, _formats(version)) for variant in declaration["variants"]],
    )
    return manifest.seal(signers)


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
    """Digest -> format: for information on devices, so the server may say it."""
    return {
        part["sha256"]: part["format"] for variant in version["variants"] for part in variant["components"]
    }
