"""`graylag keys`: the keys of the four roles and the trust bundles that name them.

A directory holds PEM files, `trust.json` (version 1, what ships inside the app) and `trust-N.json` for
each later version. Nothing in it is ever overwritten. The root keys may lie elsewhere: offline.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from sdk_contract.documents import RoleName, TrustBundle
from sdk_contract.errors import ContractError
from service import signing
from service.cli.http import AdminApi, CliError
from service.cli.options import counted
from service.cli.trust_files import Ceremony, create_all, public_key_of, read_bundle
from service.tokens import utc_now

app = typer.Typer(help="Keys and the trust bundle.", no_args_is_help=True)

Keys = Annotated[Path, typer.Option(help="Directory with the trust bundles.")]
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root", help="PEM of a root key, or its URI (env:NAME, hv:...); repeat until the threshold is met."
    ),
]
Role = Annotated[str, typer.Argument(help=f"One of {', '.join(signing.ROLES)}.")]
Threshold = Annotated[
    int | None, typer.Option(min=1, max=16, help="How many keys of the role must sign from now on.")
]
KEYS = Path("keys")


@app.command("init")
def init(
    out: Annotated[Path, typer.Option(help="Directory for the keys; must not hold any yet.")] = KEYS,
    roots: Annotated[int, typer.Option(min=1, max=16, help="How many root keys to make.")] = 1,
    threshold: Annotated[int, typer.Option(min=1, max=16, help="How many of them must sign.")] = 1,
) -> None:
    """Make a key for each role, and the trust bundle that ships inside the app.

    Set GRAYLAG_KEY_PASSPHRASE to encrypt them. Take the root keys off this machine afterwards.
    """
    if threshold > roots:
        raise CliError(f"{threshold} of {roots} root keys can never sign")
    try:
        bundle = create_all(out, roots=roots, threshold=threshold)
    except FileExistsError as error:
        raise CliError(f"{error.filename} exists; keys are never overwritten") from error
    made = sorted(path.name for path in out.glob("*.pem"))
    typer.echo(f"made {', '.join(made)} and {bundle}")
    typer.echo(
        "director.pem is for the API, patcher.pem for delta workers, publisher.pem for CI or the signing worker;"
    )
    typer.echo("root keys belong on no server: keep them offline, and each in another place.")


@app.command("show")
def show(
    trust: Annotated[
        Path | None, typer.Argument(help="A trust bundle; else the newest one in --keys.")
    ] = None,
    keys: Keys = KEYS,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Version, expiry, and who may sign what."""
    ceremony = Ceremony(keys)
    path = trust or ceremony.newest()
    envelope, bundle = read_bundle(path)
    signed = signing.signed_by(envelope, bundle.for_role("root"))
    if as_json:
        typer.echo(json.dumps(_facts(bundle, signed, path)))
        return
    typer.echo(f"{path}: version {bundle.version}, expires {bundle.expires}")
    for role, entry in bundle.roles.items():
        typer.echo(f"  {role:<10} {entry.threshold} of {len(entry.keys)}: {', '.join(entry.keys)}")
    typer.echo(f"  signed by  {', '.join(signed) or 'no root key of its own'}")


@app.command("rotate")
def rotate(role: Role, keys: Keys = KEYS, root: Roots = None, threshold: Threshold = None) -> None:
    """Make a new key for a role, and version N+1 of the trust bundle, which believes the old key too.

    Publish it, give the new key to whoever signs, wait until the devices have followed; then `drop` the old one.
    """
    ceremony, chosen = Ceremony(keys), _role(role)
    _sign(ceremony, ceremony.rotated(chosen, threshold, now=utc_now()), root)


@app.command("add-publisher")
def add_publisher(
    public_key: Annotated[
        Path, typer.Argument(help="PEM of its public key, for example from CI's key store.")
    ],
    keys: Keys = KEYS,
    root: Roots = None,
    threshold: Threshold = None,
) -> None:
    """Let somebody else sign manifests too; the private key stays where it was made."""
    add("publisher", public_key, keys, root, threshold)


@app.command("add")
def add(
    role: Role,
    public_key: Annotated[
        Path, typer.Argument(help="PEM of its public key, for example of a key store's key.")
    ],
    keys: Keys = KEYS,
    root: Roots = None,
    threshold: Threshold = None,
) -> None:
    """Version N+1 with a key that was made elsewhere and stays there: in a key store, or on another machine."""
    ceremony = Ceremony(keys)
    key = public_key_of(public_key)
    _sign(ceremony, ceremony.with_key(_role(role), key, threshold, now=utc_now()), root)


@app.command("drop")
def drop(
    role: Role,
    keyid: Annotated[str, typer.Argument(help="Id of the key that is believed no longer; see `show`.")],
    keys: Keys = KEYS,
    root: Roots = None,
    threshold: Threshold = None,
) -> None:
    """Version N+1 without a key: what only that key has signed can be installed no longer."""
    ceremony = Ceremony(keys)
    _sign(ceremony, ceremony.without(_role(role), keyid, threshold, now=utc_now()), root)


@app.command("renew")
def renew(keys: Keys = KEYS, root: Roots = None) -> None:
    """Version N+1 with the same keys and another year to live."""
    ceremony = Ceremony(keys)
    _sign(ceremony, ceremony.renewed(now=utc_now()), root)


@app.command("sign")
def sign(
    trust: Annotated[Path, typer.Argument(help="The bundle that still lacks signatures.")],
    root: Roots = None,
    keys: Keys = KEYS,
) -> None:
    """Add signatures of root keys that lie elsewhere than the others."""
    _sign(Ceremony(keys), trust, root)


@app.command("publish")
def publish(
    trust: Annotated[
        Path | None, typer.Argument(help="A trust bundle; else the newest one in --keys.")
    ] = None,
    keys: Keys = KEYS,
    url: Annotated[str | None, typer.Option(help="The server; else GRAYLAG_URL.")] = None,
    token: Annotated[str | None, typer.Option(help="API token; better in GRAYLAG_TOKEN.")] = None,
) -> None:
    """Hand a bundle to the server; devices fetch it at their next poll."""
    envelope, _bundle = read_bundle(trust or Ceremony(keys).newest())
    with AdminApi.from_environment(url, token) as api:
        answer = api.call("POST", "/v1/admin/trust", {"envelope": json.loads(envelope)})
    typer.echo(f"version {answer['version']} is what devices are told to follow")


def _sign(ceremony: Ceremony, path: Path, roots: list[str] | None) -> None:
    try:
        missing = ceremony.sign(path, [signing.signer_from(_uri(root), "root") for root in roots or []])
    except ContractError as error:
        raise CliError(f"{path}: {error}") from error
    _envelope, bundle = read_bundle(path)
    typer.echo(f"{path} is version {bundle.version}, good until {bundle.expires}")
    if missing:
        typer.echo(f"it lacks {counted(missing, 'more root signature')}: graylag keys sign {path} --root PEM")


def _uri(root: str) -> str:
    """A path is the usual case, and may hold a colon."""
    return root if root.partition(":")[0] in signing.URI_SCHEMES else f"file:{root}"


def _role(text: str) -> RoleName:
    if text not in signing.ROLES:
        raise CliError(f"{text!r} is no role; one of {', '.join(signing.ROLES)}")
    return text


def _facts(bundle: TrustBundle, signed: list[str], path: Path) -> dict[str, object]:
    roles = {
        role: {"threshold": entry.threshold, "keys": list(entry.keys)} for role, entry in bundle.roles.items()
    }
    return {
        "path": str(path),
        "version": bundle.version,
        "expires": bundle.expires,
        "roles": roles,
        "signed_by": signed,
    }
