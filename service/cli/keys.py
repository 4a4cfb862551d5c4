"""`graylag keys`: the keys of the four roles and the trust bundle that names them."""

from pathlib import Path
from typing import Annotated

import typer

from service import signing
from service.cli.http import CliError
from service.tokens import utc_now

app = typer.Typer(help="Keys and the trust bundle.", no_args_is_help=True)


def create_all(directory: Path) -> Path:
    """Make a key for each role and version 1 of the trust bundle; return the bundle's path.

    Raises:
        FileExistsError: there are keys already.
    """
    signers = {role: [signing.create_key(directory / f"{role}.pem")] for role in signing.ROLES}
    bundle = directory / "trust.json"
    bundle.write_bytes(signing.first_trust_bundle(signers, now=utc_now()))
    return bundle


@app.command("init")
def init(
    out: Annotated[Path, typer.Option(help="Directory for the keys; must not hold any yet.")] = Path("keys"),
) -> None:
    """Make a key for each role, and the trust bundle that ships inside the app.

    Set GRAYLAG_KEY_PASSPHRASE to encrypt them. Take root.pem off this machine afterwards.
    """
    try:
        bundle = create_all(out)
    except FileExistsError as error:
        raise CliError(f"{error.filename} exists; keys are never overwritten") from error
    typer.echo(f"made {', '.join(f'{role}.pem' for role in signing.ROLES)} and {bundle}")
    typer.echo(
        "director.pem is for the API, patcher.pem for delta workers, publisher.pem for CI or the signing worker;"
    )
    typer.echo("root.pem belongs on no server: keep it offline.")
