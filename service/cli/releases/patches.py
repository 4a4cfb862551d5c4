"""`graylag patch plan | list`: the patches that the server builds for a version."""

from typing import Annotated, Any

import typer

from service.cli.admin_api import AdminApi, quote_segment
from service.cli.options import JsonOption, TokenOption, UrlOption
from service.cli.output import format_bytes, format_time, print_json, print_table

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[str, typer.Argument(help="Label of the version that the patches produce.")]
NO_SOURCES = "no earlier version has a file that could be patched to this version"
DIGEST_CHARACTERS = 12
"""Characters of a digest that a table shows."""


def plan(
    model: Model,
    version: Version,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which patches to a version the server builds, and why.

    One row per pair of files: how many devices have the old file, how many bytes a patch saves, and the reason
    why it is or is not built.
    """
    entries = _get(model, version, "patches/plan", url, token)
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            ", ".join(entry["source_versions"]) or entry["source_sha256"][:DIGEST_CHARACTERS],
            f"{entry['component']} ({entry['variant']})",
            f"{entry['devices']:,}",
            f"{entry['requests']:,}",
            format_bytes(entry["full_size"]),
            ("about " if entry["estimated"] else "") + format_bytes(entry["patch_size"]),
            format_bytes(entry["saved_bytes"]),
            entry["state"] or "",
            entry["reason"],
        )
        for entry in entries
    ]
    headings = (
        "from",
        "component (variant)",
        "devices",
        "requests",
        "full size",
        "patch size",
        "saves",
        "state",
        "reason",
    )
    print_table(headings, rows, empty=NO_SOURCES)


def list_patches(
    model: Model,
    version: Version,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the patches to a version with their state and size."""
    patches = _get(model, version, "patches", url, token)
    if as_json:
        print_json(patches)
        return
    rows = [
        (
            patch["id"],
            patch["source_sha256"][:DIGEST_CHARACTERS],
            patch["target_sha256"][:DIGEST_CHARACTERS],
            patch["format"],
            patch["state"],
            "" if patch["size"] is None else format_bytes(patch["size"]),
            format_time(patch["finished_at"]),
        )
        for patch in patches
    ]
    print_table(("id", "from", "to", "format", "state", "size", "finished"), rows, empty="no patches yet")


def _get(model: str, version: str, resource: str, url: str | None, token: str | None) -> Any:
    with AdminApi.from_environment(url, token) as api:
        return api.call(
            "GET", f"/v1/admin/models/{quote_segment(model)}/versions/{quote_segment(version)}/{resource}"
        )
