"""`graylag keys`: keys of the four roles, and the trust bundles that list them.

The key directory holds PEM files, `trust.json` (version 1, which ships inside the app) and `trust-N.json` for each
later version. Existing files are never overwritten, except to add signatures. Root keys may be kept elsewhere,
offline.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from sdk_contract.documents import RoleName, TrustBundle
from sdk_contract.errors import ContractError
from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import pluralize
from service.cli.platform.trust_directory import TrustDirectory, create_keys, read_bundle, read_public_key
from service.infrastructure import signing
from service.infrastructure.clock import utc_now

app = typer.Typer(help="Manage keys and trust bundles.", no_args_is_help=True)

Keys = Annotated[Path, typer.Option(help="Directory with the trust bundles.")]
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        help="PEM file of a root key, or its URI (env:NAME, or hv:... for HashiCorp Vault). Repeat until the threshold is met.",
    ),
]
Role = Annotated[str, typer.Argument(help=f"One of {', '.join(signing.ROLES)}.")]
Threshold = Annotated[
    int | None,
    typer.Option(min=1, max=16, help="New threshold of the role: number of keys that must sign."),
]
Bundle = Annotated[
    Path | None, typer.Argument(help="Trust bundle file. Default: the newest bundle in --keys.")
]
DEFAULT_DIRECTORY = Path("keys")


@app.command("init")
def init(
    out: Annotated[
        Path, typer.Option(help="Directory for the keys; must not contain any yet.")
    ] = DEFAULT_DIRECTORY,
    roots: Annotated[int, typer.Option(min=1, max=16, help="Number of root keys.")] = 1,
    threshold: Annotated[
        int, typer.Option(min=1, max=16, help="Number of root keys that must sign a trust bundle.")
    ] = 1,
) -> None:
    """Create a key for each role, and version 1 of the trust bundle, which ships inside the app.

    Set GRAYLAG_KEY_PASSPHRASE to encrypt the keys. Move the root keys off this machine afterwards.
    """
    if threshold > roots:
        raise CliError(f"--threshold {threshold} is higher than the number of root keys ({roots})")
    try:
        bundle = create_keys(out, roots=roots, threshold=threshold)
    except FileExistsError as error:
        raise CliError(f"{error.filename} exists and is not overwritten; choose another --out") from error
    created = sorted(path.name for path in out.glob("*.pem"))
    typer.echo(f"created {', '.join(created)} and {bundle}")
    typer.echo(
        "director.pem belongs to the API, patcher.pem to delta workers, publisher.pem to CI or the signing worker."
    )
    typer.echo("Keep root keys off every server: offline, each in a different place.")


@app.command("show")
def show(trust: Bundle = None, keys: Keys = DEFAULT_DIRECTORY, as_json: JsonOption = False) -> None:
    """Show version, expiry, keys and thresholds of a trust bundle."""
    path = trust or TrustDirectory(keys).newest()
    envelope, bundle = read_bundle(path)
    signatures = signing.valid_signatures(envelope, bundle.for_role("root"))
    if as_json:
        typer.echo(json.dumps(_bundle_facts(bundle, signatures, path)))
        return
    typer.echo(f"{path}: version {bundle.version}, expires {bundle.expires}")
    for role, entry in bundle.roles.items():
        typer.echo(f"  {role:<10} {entry.threshold} of {len(entry.keys)}: {', '.join(entry.keys)}")
    typer.echo(f"  signed by  {', '.join(signatures) or 'none of its root keys'}")


@app.command("rotate")
def rotate(
    role: Role, keys: Keys = DEFAULT_DIRECTORY, root: Roots = None, threshold: Threshold = None
) -> None:
    """Create a new key for a role, and version N+1 of the trust bundle, which lists the old key too.

    Publish the bundle, give the new key to its process, and wait until devices have fetched the bundle. Then
    remove the old key with `graylag keys remove`.
    """
    directory, checked = TrustDirectory(keys), _require_role(role)
    _sign(directory, directory.rotate(checked, threshold, now=utc_now()), root)


@app.command("add")
def add(
    role: Role,
    public_key: Annotated[Path, typer.Argument(help="PEM file of the public key, for example from a KMS.")],
    keys: Keys = DEFAULT_DIRECTORY,
    root: Roots = None,
    threshold: Threshold = None,
) -> None:
    """Add a key that was created elsewhere; its private key stays in its key store or on its machine."""
    directory = TrustDirectory(keys)
    added = read_public_key(public_key)
    _sign(directory, directory.add_key(_require_role(role), added, threshold, now=utc_now()), root)


@app.command("remove")
def remove(
    role: Role,
    keyid: Annotated[str, typer.Argument(help="Id of the key to remove, as `graylag keys show` prints it.")],
    keys: Keys = DEFAULT_DIRECTORY,
    root: Roots = None,
    threshold: Threshold = None,
) -> None:
    """Remove a key; documents that only this key has signed can no longer be installed."""
    directory = TrustDirectory(keys)
    _sign(directory, directory.remove_key(_require_role(role), keyid, threshold, now=utc_now()), root)


@app.command("renew")
def renew(keys: Keys = DEFAULT_DIRECTORY, root: Roots = None) -> None:
    """Create version N+1 with the same keys, valid for another year."""
    directory = TrustDirectory(keys)
    _sign(directory, directory.renew(now=utc_now()), root)


@app.command("sign")
def sign(
    trust: Annotated[Path, typer.Argument(help="Trust bundle file that lacks signatures.")],
    root: Roots = None,
    keys: Keys = DEFAULT_DIRECTORY,
) -> None:
    """Add signatures of further root keys to a trust bundle."""
    _sign(TrustDirectory(keys), trust, root)


@app.command("publish")
def publish(
    trust: Bundle = None,
    keys: Keys = DEFAULT_DIRECTORY,
    url: UrlOption = None,
    token: TokenOption = None,
) -> None:
    """Upload a trust bundle to the server; devices fetch it at their next poll."""
    envelope, _bundle = read_bundle(trust or TrustDirectory(keys).newest())
    with AdminApi.from_environment(url, token) as api:
        response = api.call("POST", "/v1/admin/trust", {"envelope": json.loads(envelope)})
    typer.echo(f"devices are now given version {response['version']}")


def _sign(directory: TrustDirectory, path: Path, roots: list[str] | None) -> None:
    try:
        missing = directory.sign(path, [signing.load_signer(_key_uri(root), "root") for root in roots or []])
    except ContractError as error:
        raise CliError(f"{path} cannot be signed: {error}") from error
    _envelope, bundle = read_bundle(path)
    typer.echo(f"{path} is version {bundle.version}, valid until {bundle.expires}")
    if missing:
        typer.echo(f"{pluralize(missing, 'root signature')} missing: graylag keys sign {path} --root PEM")


def _key_uri(root: str) -> str:
    """The URI of a root key; text without a known scheme is a path, even if it contains a colon."""
    return root if root.partition(":")[0] in signing.URI_SCHEMES else f"file:{root}"


def _require_role(text: str) -> RoleName:
    if text not in signing.ROLES:
        raise CliError(f"unknown role {text!r}; use one of {', '.join(signing.ROLES)}")
    return text


def _bundle_facts(bundle: TrustBundle, signatures: list[str], path: Path) -> dict[str, object]:
    roles = {
        role: {"threshold": entry.threshold, "keys": list(entry.keys)} for role, entry in bundle.roles.items()
    }
    return {
        "path": str(path),
        "version": bundle.version,
        "expires": bundle.expires,
        "roles": roles,
        "signed_by": signatures,
    }
