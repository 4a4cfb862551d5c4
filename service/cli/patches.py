"""`graylag patches`: the patches that the server makes, and why."""

from typing import Annotated, Any

import typer

from service.cli.http import AdminApi
from service.cli.options import AsJson, Token, Url, readable, show_json, show_table, to_the_second

app = typer.Typer(help="Patches on the server: which are made, and why.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[str, typer.Argument(help="Label of the version that they lead to.")]
EMPTY = "no earlier version has a file that this one could be patched from"


@app.command("plan")
def plan(
    model: Model, version: Version, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Each pair of files: who has the old one, what a patch saves, whether it is made, and why (not)."""
    found = _get(model, version, "patches/plan", url, token)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            ", ".join(entry["bases"]) or entry["source_sha256"][:12],
            f"{entry['component']} ({entry['variant']})",
            f"{entry['devices']:,}",
            f"{entry['asked']:,}",
            readable(entry["full_size"]),
            ("about " if entry["estimated"] else "") + readable(entry["patch_size"]),
            readable(entry["saved"]),
            entry["state"] or "",
            entry["why"],
        )
        for entry in found
    ]
    headings = ("from", "component", "devices", "asked", "full", "patch", "saves", "state", "why")
    show_table(headings, rows, empty=EMPTY)


@app.command("list")
def list_patches(
    model: Model, version: Version, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Patches to a version: made, being made, given up, retired."""
    found = _get(model, version, "patches", url, token)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            patch["id"],
            patch["source_sha256"][:12],
            patch["target_sha256"][:12],
            patch["format"],
            patch["state"],
            "" if patch["size"] is None else readable(patch["size"]),
            to_the_second(patch["finished_at"]),
        )
        for patch in found
    ]
    show_table(("id", "from", "to", "format", "state", "size", "finished"), rows, empty="none yet")


def _get(model: str, version: str, what: str, url: str | None, token: str | None) -> Any:
    with AdminApi.from_environment(url, token) as api:
        return api.call("GET", f"/v1/admin/models/{model}/versions/{version}/{what}")
