"""`graylag patch`: build, apply and inspect patch files; plan and list the patches of a server."""

import hashlib
import json
import resource
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from sdk_contract import formats
from sdk_contract.patch import BaseMismatch, PatchCorrupt, PatchError, apply_patch, read_index, reverse_patch
from sdk_contract.patch.files import atomic_replace
from service.cli.releases import patches
from workers.delta.bsdiff40_export import ExportedPatch, export_bsdiff40
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch
from workers.delta.layouts.validation import printable
from workers.delta.local_file import LocalFile
from workers.delta.patch_file.inspection import Inspection, inspect_patch

NOT_WORTH_IT_STATUS = 3
MAX_SHOWN_TENSORS = 40
app = typer.Typer(
    help="Build, apply and inspect patch files; list the patches that the server builds.",
    no_args_is_help=True,
)
app.command("plan")(patches.plan)
app.command("list")(patches.list_patches)

OldFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file that the device has.")
]
NewFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file that the patch produces.")
]
PatchFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The patch file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def _require_regular_file(path: Path) -> Path:
    """Refuse a device or a pipe: the output replaces an existing file of that name."""
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{str(path)!r} exists and is not a regular file")
    return path


def _output_option(help_text: str) -> Any:
    return typer.Option("--output", "-o", help=help_text, dir_okay=False, callback=_require_regular_file)


class Format(StrEnum):
    """Patch formats that `build` can write."""

    GLP1 = formats.GLP1
    BSDIFF40 = formats.BSDIFF40


class _NotWorthIt(Exception):
    def __init__(self, result: NotWorthIt) -> None:
        super().__init__()
        self.result = result


@app.command()
def build(
    old: OldFile,
    new: NewFile,
    *,
    output: Annotated[Path, _output_option("Write the patch to this file.")],
    format_: Annotated[
        Format, typer.Option("--format", help="Use bsdiff40 for devices that only have bspatch.")
    ] = Format.GLP1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Number of cores to use.")] = 2,
    reversible: Annotated[
        bool,
        typer.Option(help="Make a patch for `apply --reverse`; patches of float tensors become larger."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the patch from OLD to NEW. Exit status 3: not worth it, and nothing is written."""
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(LocalFile(path)) for path in (old, new)]
            out = stack.enter_context(atomic_replace(output))
            built = _write_patch(files[0], files[1], out, format_, threads, reversible=reversible)
    except _NotWorthIt as refused:
        _exit_not_worth_it(refused.result, new.stat().st_size, as_json=as_json)
    summary = _summary(built, threads - 1)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{output}: {_format_bytes(built.patch_size)}, {summary['ratio']:.2%} of {_format_bytes(built.target_size)}, "
        f"in {built.seconds:.2f} s ({built.target_size / 1e6 / max(built.seconds, 1e-9):.0f} MB/s)"
    )


@app.command()
def apply(
    old: OldFile,
    patch: PatchFile,
    *,
    output: Annotated[Path, _output_option("Write the result to this file.")],
    reverse: Annotated[
        bool, typer.Option(help="Go back: OLD is the new file, the result is the old one.")
    ] = False,
    index_sha256: Annotated[
        str | None, typer.Option(help="Expected index digest, from the signed descriptor.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Apply PATCH to OLD. The output file appears only after every digest was verified."""
    expected = None if index_sha256 is None else _parse_digest(index_sha256)
    try:
        apply_in_direction = reverse_patch if reverse else apply_patch
        applied = apply_in_direction(old, patch, output, index_sha256=expected)
    except PatchError as failed:
        error = _with_cause(failed, old, patch, reverse=reverse)
        if as_json:
            typer.echo(json.dumps({"error": error.code, "number": error.number, "detail": error.detail}))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    speed = applied.bytes_written / 1e6 / max(applied.seconds, 1e-9)
    if as_json:
        summary = asdict(applied) | {
            "target_sha256": applied.target_sha256.hex(),
            "peak_rss_mb": _peak_rss_mb(),
        }
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{output}: {_format_bytes(applied.bytes_written)} in {applied.seconds:.2f} s ({speed:.0f} MB/s)"
    )
    typer.echo(f"sha256 {applied.target_sha256.hex()}")


@app.command()
def inspect(
    patch: PatchFile,
    show_all: Annotated[
        bool,
        typer.Option("--all", help=f"Show every tensor, not only the {MAX_SHOWN_TENSORS} most expensive."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a patch changes: values changed and patch bytes spent, per tensor."""
    try:
        inspection = inspect_patch(patch)
    except PatchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(inspection.as_json()))
        return
    _print_inspection(inspection, show_all=show_all)


def _write_patch(
    source: LocalFile,
    target: LocalFile,
    out: BinaryIO,
    patch_format: Format,
    threads: int,
    *,
    reversible: bool,
) -> BuiltPatch | ExportedPatch:
    if patch_format is Format.BSDIFF40:
        return export_bsdiff40(source, target, out)
    built = build_patch(source, target, out, threads=threads, reversible=reversible)
    if isinstance(built, NotWorthIt):
        raise _NotWorthIt(built)
    return built


def _exit_not_worth_it(result: NotWorthIt, target_size: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": "not_worth_it", "target_size": target_size} | asdict(result)))
    else:
        typer.echo(
            f"not worth it: the patch would be {_format_bytes(result.patch_size)}, "
            f"the compressed full file is {_format_bytes(result.full_size)}",
            err=True,
        )
    raise typer.Exit(NOT_WORTH_IT_STATUS)


def _with_cause(error: PatchError, old: Path, patch: Path, *, reverse: bool) -> PatchError:
    """Return `BaseMismatch` if OLD is the wrong file, else the error: with a wrong base a good patch looks corrupt."""
    if not isinstance(error, PatchCorrupt | BaseMismatch):
        return error
    with suppress(PatchError), patch.open("rb") as patch_file, old.open("rb") as old_file:
        header = read_index(patch_file).header
        expected = header.target_sha256 if reverse else header.source_sha256
        if hashlib.file_digest(old_file, "sha256").digest() != expected:
            return BaseMismatch(
                f"{old} is not the {'target' if reverse else 'source'} file of the patch: its SHA-256 differs"
            )
    return error


def _summary(built: BuiltPatch | ExportedPatch, child_processes: int) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "source_size": built.source_size,
        "target_size": built.target_size,
        "patch_size": built.patch_size,
        "ratio": built.patch_size / max(built.target_size, 1),
        "seconds": built.seconds,
        "peak_rss_mb": _peak_rss_mb(child_processes),
        "ops": built.ops,
        "source_sha256": built.source_sha256.hex(),
        "target_sha256": built.target_sha256.hex(),
        "patch_sha256": built.patch_sha256.hex(),
    }
    if isinstance(built, BuiltPatch):
        summary["index_sha256"] = built.index_sha256.hex()
        summary["working_set"] = built.working_set
        summary["reversible"] = built.reversible
    return summary


def _print_inspection(inspection: Inspection, *, show_all: bool) -> None:
    header = inspection.index.header
    typer.echo(
        f"GLP1, {_format_bytes(header.patch_size)}: {_format_bytes(header.source_size)} -> {_format_bytes(header.target_size)} "
        f"({inspection.format}), {header.block_count} blocks, index {header.head_size} bytes, "
        f"{'reversible' if header.reversible else 'not reversible'}, "
        f"working set {_format_bytes(header.working_set)}"
    )
    typer.echo(f"source {header.source_sha256.hex()}\ntarget {header.target_sha256.hex()}")
    if not inspection.tensors:
        blocks = inspection.as_json()["blocks"]
        typer.echo(f"no notes on tensors (small patches have none); blocks: {blocks}")
        return
    table = Table("tensor", "bytes", "operations", "changed", "cost", "cost/size", box=None)
    ranked = sorted(inspection.tensors, key=lambda tensor: -tensor.cost)
    for tensor in ranked if show_all else ranked[:MAX_SHOWN_TENSORS]:
        name, ops = printable(tensor.name) or "(between tensors)", "+".join(tensor.ops)
        share = f"{tensor.changed / max(tensor.values, 1):.1%}"
        of_size = f"{tensor.cost / max(tensor.size, 1):.2%}"
        table.add_row(name, f"{tensor.size:,}", ops, share, f"{tensor.cost:,}", of_size)
    width = None if sys.stdout.isatty() else 140
    Console(file=sys.stdout, width=width, markup=False, emoji=False).print(table)
    hidden = 0 if show_all else max(len(ranked) - MAX_SHOWN_TENSORS, 0)
    typer.echo(f"{inspection.unchanged} unchanged" + (f", {hidden} more with --all" if hidden else ""))


def _parse_digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("expected 64 hexadecimal digits", param_hint="--index-sha256")
    return digest


def _format_bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count:,} bytes"


def _peak_rss_mb(child_processes: int = 0) -> float:
    """Peak resident memory in 10^6 bytes of this process and its children, each counted as the largest one."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS and in KiB on Linux
    own, largest_child = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round((own + child_processes * largest_child) * unit / 1e6, 1)
