"""`graylag publish`: what CI runs after training. Saying it again, also after a kill, goes on where it was."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sdk_contract.writing import Signer
from service import signing
from service.cli.builds import builds_from
from service.cli.http import AdminApi, CliError
from service.cli.manifest import signed_manifest
from service.cli.upload import bar, bring, sha256_of
from service.tokens import utc_now

POLL_S = 0.3
LOST = "upload_incomplete"
"""The object store has lost what it had taken: bringing it again helps."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A component on this machine."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class LocalVariant:
    """A build on this machine."""

    name: str
    selector: dict[str, Any]
    priority: int
    files: Sequence[LocalFile]


@dataclass(frozen=True, slots=True)
class Release:
    """What is to be published."""

    model: str
    label: str
    variants: Sequence[LocalVariant]
    floor: str | None = None
    notes: str = ""
    watershed: bool = False


def publish(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[str, typer.Argument(help="Label of the version, for example v1.3.")],
    component: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE; repeat for each component of the build.")
    ] = None,
    variant: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="SELECTOR.json: for which devices the build is. Repeat it, with components inside, for several builds.",
        ),
    ] = None,
    floor: Annotated[str | None, typer.Option(help="Devices may never go below this version again.")] = None,
    notes: Annotated[str, typer.Option(help="For people.")] = "",
    watershed: Annotated[
        bool,
        typer.Option("--watershed", help="No device may skip this version on its way to anything newer."),
    ] = False,
    url: Annotated[str | None, typer.Option(help="The server; else GRAYLAG_URL.")] = None,
    token: Annotated[str | None, typer.Option(help="API token; better in GRAYLAG_TOKEN.")] = None,
    sign_with: Annotated[
        list[str] | None,
        typer.Option(
            help="URI of a publisher's key (file:PATH, env:NAME, hv:...): sign here; repeat for a threshold."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON at the end.")] = False,
) -> None:
    """Upload a version and wait until it is ready for rollouts.

    Files go straight to the object store in parallel parts; what is known there is not sent again, so running
    the same command again after a kill goes on where it was. With --sign-with the manifest is made and signed on
    this machine; else the server's signing worker does it.
    """
    console = Console(stderr=True)
    builds = builds_from(component or [], variant or [])
    signers = [signing.signer_from(uri, "publisher") for uri in sign_with or []]
    with AdminApi.from_environment(url, token) as api:
        variants = [
            LocalVariant(
                build.name, build.selector, build.priority, hash_components(build.components, console)
            )
            for build in builds
        ]
        result = publish_release(
            api, Release(model, version, variants, floor, notes, watershed), console, signers
        )
    if as_json:
        typer.echo(json.dumps(result))


def publish_release(
    api: AdminApi, release: Release, console: Console, signers: Sequence[Signer] = ()
) -> dict[str, Any]:
    """Declare, upload what is missing, submit, sign where there are signers, wait.

    Returns:
        `model`, `version`, `counter`, `state`, `sent_bytes`, `known_bytes`, `manifest_sha256`, `seconds`.

    Raises:
        CliError: the server refuses, or rejects the version; the message says why.
    """
    started = time.monotonic()
    sent = _bring_all(api, release, console, signers)
    try:
        ready = _wait_until_ready(api, release, console, signers)
    except CliError as error:
        if error.code != LOST:
            raise
        console.print(f"{error}; sending it once more")
        sent += _bring_all(api, release, console, signers)
        ready = _wait_until_ready(api, release, console, signers)
    known = max(0, sum(path.stat().st_size for path in _files(release).values()) - sent)
    console.print(f"{release.model} {release.label} is ready: {sent:,} bytes sent, {known:,} known already")
    return {
        "model": release.model,
        "version": release.label,
        "counter": ready["counter"],
        "state": ready["state"],
        "sent_bytes": sent,
        "known_bytes": known,
        "manifest_sha256": ready["manifest_sha256"],
        "seconds": round(time.monotonic() - started, 3),
    }


def _bring_all(api: AdminApi, release: Release, console: Console, signers: Sequence[Signer]) -> int:
    """Declare, upload, submit; return how many bytes were sent."""
    base = f"/v1/admin/models/{release.model}/versions"
    api.call("POST", base, _declaration(release) | {"signed_by_publisher": bool(signers)})
    files = _files(release)
    total = sum(path.stat().st_size for path in files.values())
    with bar(console, f"uploading {release.model} {release.label}", total) as advance:
        sent = sum(bring(api, path, sha256, advance) for sha256, path in files.items())
    api.call("POST", f"{base}/{release.label}/submit")
    return sent


def _files(release: Release) -> dict[str, Path]:
    """Digest -> a file with those bytes."""
    return {file.sha256: file.path for variant in release.variants for file in variant.files}


def hash_components(components: dict[str, Path], console: Console) -> list[LocalFile]:
    """Digest files, with a progress bar."""
    total = sum(path.stat().st_size for path in components.values())
    with bar(console, "hashing", total) as advance:
        return [LocalFile(name, path, sha256_of(path, advance)) for name, path in components.items()]


def _declaration(release: Release) -> dict[str, Any]:
    return {
        "label": release.label,
        "floor": release.floor,
        "notes": release.notes,
        "watershed": release.watershed,
        "variants": [
            {
                "name": variant.name,
                "selector": variant.selector,
                "priority": variant.priority,
                "components": [
                    {
                        "name": file.name,
                        "path": file.path.name,
                        "size": file.path.stat().st_size,
                        "sha256": file.sha256,
                    }
                    for file in variant.files
                ],
            }
            for variant in release.variants
        ],
    }


def _wait_until_ready(
    api: AdminApi, release: Release, console: Console, signers: Sequence[Signer]
) -> dict[str, Any]:
    path = f"/v1/admin/models/{release.model}/versions/{release.label}"
    with console.status("the server hashes, inspects and signs it"):
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
                problem = version["problem"] or {}
                raise CliError(
                    f"the version is {version['state']}: {problem.get('detail', '')} "
                    f"({problem.get('field', '')}) [{problem.get('code', '')}]",
                    problem.get("code", ""),
                )
            time.sleep(POLL_S)
