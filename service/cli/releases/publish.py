"""`graylag publish`: upload new weights from CI. Running the same command again resumes an interrupted run."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sdk_contract.signing import Signer
from service.cli.admin_api import AdminApi, quote_segment
from service.cli.errors import CliError
from service.cli.options import TokenOption, UrlOption
from service.cli.releases.manifest import signed_manifest
from service.cli.releases.upload import progress_bar, sha256_of, upload_file
from service.cli.releases.variants import VariantSpec, variants_from_options
from service.infrastructure import signing
from service.infrastructure.clock import utc_now

POLL_INTERVAL_S = 0.3
UPLOAD_INCOMPLETE = "upload_incomplete"
"""Problem code of a version whose uploaded parts are gone from the object store; a second upload mends it."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A component file on this machine."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class LocalVariant:
    """A variant whose files are on this machine."""

    name: str
    selector: dict[str, Any]
    priority: int
    files: Sequence[LocalFile]


@dataclass(frozen=True, slots=True)
class Release:
    """A version to publish."""

    model: str
    label: str
    variants: Sequence[LocalVariant]
    floor: str | None = None
    notes: str = ""
    barrier: bool = False


def publish(
    model: Annotated[str, typer.Argument(help="Name of the model; created if it does not exist.")],
    version: Annotated[str, typer.Argument(help="Label of the version, for example v1.3.")],
    component: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE. Repeat for each component of the variant.")
    ] = None,
    variant: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON file with the rule that selects devices. Repeat, with components inside each file, to publish several variants.",
        ),
    ] = None,
    floor: Annotated[
        str | None, typer.Option(help="Label of the oldest version that devices may ever return to.")
    ] = None,
    notes: Annotated[str, typer.Option(help="Release notes.")] = "",
    barrier: Annotated[
        bool,
        typer.Option("--barrier", help="Devices must install this version before any newer one."),
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    signing_key: Annotated[
        list[str] | None,
        typer.Option(
            help="URI of a publisher key (file:PATH, env:NAME, or hv:... for HashiCorp Vault); signs the manifest on this machine. Repeat until the threshold is met."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON at the end.")] = False,
) -> None:
    """Upload a version and wait until it is ready for rollouts.

    Files go straight to the object store in parallel parts. Bytes that are already stored are not sent again, so
    an interrupted command resumes when it is run again. Without --signing-key the server's signing worker signs
    the manifest.
    """
    console = Console(stderr=True)
    specs = variants_from_options(component or [], variant or [])
    signers = [signing.load_signer(uri, "publisher") for uri in signing_key or []]
    with AdminApi.from_environment(url, token) as api:
        variants = [_hash_variant(spec, console) for spec in specs]
        release = Release(model, version, variants, floor, notes, barrier)
        result = publish_release(api, release, console, signers)
    if as_json:
        typer.echo(json.dumps(result))


def publish_release(
    api: AdminApi, release: Release, console: Console, signers: Sequence[Signer] = ()
) -> dict[str, Any]:
    """Declare the version, upload missing files, submit it, sign it if there are signers, and wait until it is ready.

    Returns:
        `model`, `version`, `counter`, `state`, `sent_bytes`, `reused_bytes`, `manifest_sha256`, `seconds`.

    Raises:
        CliError: the server answers with an error or rejects the version; the message says why.
    """
    started = time.monotonic()
    sent = _submit(api, release, console, signers)
    try:
        ready = _wait_until_ready(api, release, console, signers)
    except CliError as error:
        if error.code != UPLOAD_INCOMPLETE:
            raise
        console.print(f"{error}; uploading once more")
        sent += _submit(api, release, console, signers)
        ready = _wait_until_ready(api, release, console, signers)
    reused = max(0, sum(path.stat().st_size for path in _files(release).values()) - sent)
    console.print(f"{release.model} {release.label} is ready: {sent:,} bytes sent, {reused:,} already stored")
    return {
        "model": release.model,
        "version": release.label,
        "counter": ready["counter"],
        "state": ready["state"],
        "sent_bytes": sent,
        "reused_bytes": reused,
        "manifest_sha256": ready["manifest_sha256"],
        "seconds": round(time.monotonic() - started, 3),
    }


def hash_components(components: dict[str, Path], console: Console) -> list[LocalFile]:
    """Hash component files, with a progress bar."""
    total = sum(path.stat().st_size for path in components.values())
    with progress_bar(console, "hashing", total) as advance:
        return [LocalFile(name, path, sha256_of(path, advance)) for name, path in components.items()]


def _hash_variant(spec: VariantSpec, console: Console) -> LocalVariant:
    return LocalVariant(spec.name, spec.selector, spec.priority, hash_components(spec.components, console))


def _submit(api: AdminApi, release: Release, console: Console, signers: Sequence[Signer]) -> int:
    """Declare the version, upload its files and submit it; return the number of bytes sent."""
    versions = f"/v1/admin/models/{quote_segment(release.model)}/versions"
    api.call("POST", versions, _declaration(release) | {"signed_by_publisher": bool(signers)})
    files = _files(release)
    total = sum(path.stat().st_size for path in files.values())
    with progress_bar(console, f"uploading {release.model} {release.label}", total) as advance:
        sent = sum(upload_file(api, path, sha256, advance) for sha256, path in files.items())
    api.call("POST", f"{versions}/{quote_segment(release.label)}/submit")
    return sent


def _files(release: Release) -> dict[str, Path]:
    """sha256 -> one file with that digest; equal files are uploaded once."""
    return {file.sha256: file.path for variant in release.variants for file in variant.files}


def _declaration(release: Release) -> dict[str, Any]:
    return {
        "label": release.label,
        "floor": release.floor,
        "notes": release.notes,
        "barrier": release.barrier,
        "variants": [
            {
                "name": variant.name,
                "selector": variant.selector,
                "priority": variant.priority,
                "components": [_component(file) for file in variant.files],
            }
            for variant in release.variants
        ],
    }


def _component(file: LocalFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "path": file.path.name,
        "size": file.path.stat().st_size,
        "sha256": file.sha256,
    }


def _wait_until_ready(
    api: AdminApi, release: Release, console: Console, signers: Sequence[Signer]
) -> dict[str, Any]:
    """Poll until the version is ready; submit the manifest when the server awaits it."""
    path = f"/v1/admin/models/{quote_segment(release.model)}/versions/{quote_segment(release.label)}"
    with console.status("the server hashes, inspects and signs the version"):
        while True:
            version: dict[str, Any] = api.call("GET", path)
            if version["state"] == "ready":
                return version
            if signers and version["awaits_manifest"]:
                envelope = signed_manifest(
                    _declaration(release), release.model, version, signers, now=utc_now()
                )
                api.call("POST", f"{path}/manifest", {"envelope": json.loads(envelope)})
            if version["state"] != "ingesting":
                raise _not_ready(release, version)
            time.sleep(POLL_INTERVAL_S)


def _not_ready(release: Release, version: dict[str, Any]) -> CliError:
    problem = version["problem"] or {}
    field = f" ({problem['field']})" if problem.get("field") else ""
    code = problem.get("code", "")
    return CliError(
        f"{release.model} {release.label} is {version['state']}: {problem.get('detail', 'no reason given')}"
        f"{field} [{code}]",
        code,
    )
