"""`graylag patch build | apply | inspect`."""

import hashlib
import json
import resource
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.table import Table

from sdk_contract.patch import BaseMismatch, PatchCorrupt, PatchError, apply_patch, read_index, reverse_patch
from sdk_contract.patch.files import replacing
from workers.delta.bsdiff40 import ExportedPatch, export_bsdiff40
from workers.delta.build import BuiltPatch, NotWorthIt, build_patch
from workers.delta.inspect import Inspection, inspect_patch
from workers.delta.layouts.rules import printable
from workers.delta.ranges import LocalFile

NOT_WORTH_IT = 3
SHOWN = 40
app = typer.Typer(help="Build, apply and look into patches, without a server.", no_args_is_help=True)

ExistingFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def _ordinary(path: Path) -> Path:
    """The output takes the place of what has its name, which must not be a device or a pipe."""
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{str(path)!r} is no ordinary file")
    return path


def _output(what: str) -> Any:
    return typer.Option("--output", "-o", help=what, dir_okay=False, callback=_ordinary)


class Format(StrEnum):
    """What a patch can be written as."""

    GLP1 = "glp1"
    BSDIFF40 = "bsdiff40"


class _Worthless(Exception):
    """The pair is too different; carries the numbers."""

    def __init__(self, answer: NotWorthIt) -> None:
        super().__init__()
        self.answer = answer


@app.command()
def build(
    old: ExistingFile,
    new: ExistingFile,
    *,
    output: Annotated[Path, _output("The patch file.")],
    format_: Annotated[
        Format, typer.Option("--format", help="bsdiff40 is for devices that only have bspatch.")
    ] = (Format.GLP1),
    threads: Annotated[int, typer.Option(min=1, max=64, help="Cores used.")] = 2,
    reversible: Annotated[
        bool, typer.Option(help="Allow `apply --reverse`; costs size on float tensors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the patch that takes OLD to NEW. Status 3: not worth it, nothing is written."""
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(LocalFile(path)) for path in (old, new)]
            out = stack.enter_context(replacing(output))
            built = _build(files[0], files[1], out, format_, threads, reversible=reversible)
    except _Worthless as worthless:
        _refuse(worthless.answer, new.stat().st_size, as_json=as_json)
    facts = _facts(built, threads - 1)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"{output}: {_bytes(built.patch_size)}, {facts['ratio']:.2%} of {_bytes(built.target_size)}, "
        f"in {built.seconds:.2f} s ({built.target_size / 1e6 / max(built.seconds, 1e-9):.0f} MB/s)"
    )


@app.command()
def apply(
    old: ExistingFile,
    patch: ExistingFile,
    *,
    output: Annotated[Path, _output("The file to make.")],
    reverse: Annotated[bool, typer.Option(help="OLD is the new file; make the old one.")] = False,
    index_sha256: Annotated[str | None, typer.Option(help="Index digest from the signed descriptor.")] = None,
    as_json: Json = False,
) -> None:
    """Make the new file from OLD and PATCH; it appears only when every digest is right."""
    expected = None if index_sha256 is None else _digest(index_sha256)
    try:
        run = reverse_patch if reverse else apply_patch
        applied = run(old, patch, output, index_sha256=expected)
    except PatchError as failed:
        error = _blamed(failed, old, patch, reverse=reverse)
        if as_json:
            typer.echo(json.dumps({"error": error.code, "number": error.number, "detail": error.detail}))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    speed = applied.bytes_written / 1e6 / max(applied.seconds, 1e-9)
    if as_json:
        facts = asdict(applied) | {
            "target_sha256": applied.target_sha256.hex(),
            "peak_rss_mb": _peak_rss_mb(),
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{output}: {_bytes(applied.bytes_written)} in {applied.seconds:.2f} s ({speed:.0f} MB/s)")
    typer.echo(f"sha256 {applied.target_sha256.hex()}")


@app.command()
def inspect(
    patch: ExistingFile,
    show_all: Annotated[
        bool, typer.Option("--all", help="Every tensor, not only the most expensive.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Per tensor: what changed, how much, at what cost."""
    try:
        found = inspect_patch(patch)
    except PatchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    _show(found, show_all=show_all)


def _build(
    source: LocalFile, target: LocalFile, out: BinaryIO, form: Format, threads: int, *, reversible: bool
) -> BuiltPatch | ExportedPatch:
    if form is Format.BSDIFF40:
        return export_bsdiff40(source, target, out)
    built = build_patch(source, target, out, threads=threads, reversible=reversible)
    if isinstance(built, NotWorthIt):
        raise _Worthless(built)
    return built


def _refuse(answer: NotWorthIt, target_size: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": "not_worth_it", "target_size": target_size} | asdict(answer)))
    else:
        typer.echo(
            f"not worth it: the patch would have {_bytes(answer.predicted_size)}, "
            f"the whole file compressed {_bytes(answer.full_size)}",
            err=True,
        )
    raise typer.Exit(NOT_WORTH_IT)


def _blamed(error: PatchError, old: Path, patch: Path, *, reverse: bool) -> PatchError:
    """The error, or that OLD is the wrong file: read by its values a good patch may look damaged."""
    if not isinstance(error, PatchCorrupt | BaseMismatch):
        return error
    with suppress(PatchError), patch.open("rb") as patch_file, old.open("rb") as old_file:
        header = read_index(patch_file).header
        expected = header.target_sha256 if reverse else header.source_sha256
        if hashlib.file_digest(old_file, "sha256").digest() != expected:
            return BaseMismatch(
                f"{old} is not the file that the patch {'leads to' if reverse else 'starts from'}"
            )
    return error


def _facts(built: BuiltPatch | ExportedPatch, helpers: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "source_size": built.source_size,
        "target_size": built.target_size,
        "patch_size": built.patch_size,
        "ratio": built.patch_size / max(built.target_size, 1),
        "seconds": built.seconds,
        "peak_rss_mb": _peak_rss_mb(helpers),
        "ops": built.ops,
        "source_sha256": built.source_sha256.hex(),
        "target_sha256": built.target_sha256.hex(),
        "patch_sha256": built.patch_sha256.hex(),
    }
    if isinstance(built, BuiltPatch):
        facts["index_sha256"] = built.index_sha256.hex()
        facts["working_set"] = built.working_set
        facts["reversible"] = built.reversible
    return facts


def _show(found: Inspection, *, show_all: bool) -> None:
    header = found.index.header
    typer.echo(
        f"GLP1, {_bytes(header.patch_size)}: {_bytes(header.source_size)} -> {_bytes(header.target_size)} "
        f"({found.format}), {header.block_count} blocks, index {header.head_size} bytes, "
        f"{'reversible' if header.reversible else 'one way'}, working set {_bytes(header.working_set)}"
    )
    typer.echo(f"source {header.source_sha256.hex()}\ntarget {header.target_sha256.hex()}")
    if not found.tensors:
        typer.echo(f"no notes on tensors (small patches keep none); blocks: {found.as_json()['blocks']}")
        return
    table = Table("tensor", "bytes", "made by", "changed", "cost", "of its size", box=None)
    ranked = sorted(found.tensors, key=lambda tensor: -tensor.cost)
    for tensor in ranked if show_all else ranked[:SHOWN]:
        name, ops = printable(tensor.name) or "(between)", "+".join(tensor.ops)
        share = f"{tensor.changed / max(tensor.values, 1):.1%}"
        of_size = f"{tensor.cost / max(tensor.size, 1):.2%}"
        table.add_row(name, f"{tensor.size:,}", ops, share, f"{tensor.cost:,}", of_size)
    width = None if sys.stdout.isatty() else 140
    Console(file=sys.stdout, width=width, markup=False, emoji=False).print(table)
    hidden = 0 if show_all else max(len(ranked) - SHOWN, 0)
    typer.echo(f"{found.unchanged} unchanged" + (f", {hidden} more with --all" if hidden else ""))


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("64 hexadecimal digits", param_hint="--index-sha256")
    return digest


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count:,} bytes"


def _peak_rss_mb(helpers: int = 0) -> float:
    """Highest resident size in MB of 10^6 bytes, of this process and of so many more; Linux counts in KiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, largest = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round((own + helpers * largest) * unit / 1e6, 1)
