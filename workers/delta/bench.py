"""Patches side by side with other engines: `python -m workers.delta.bench FOLDER [--tiles N] [--json FILE]`.

The folder holds `base.X` and one or more `NAME.X` (`full.X`, `fullrows.X`, ...); each is measured against
`base.X`. The table, in Markdown, goes to standard output. Small files measure little but the start of a process:
`--tiles` measures our engine also on the pair that many times over. `--ours --only full.int8 --tiles 333` is 4.2 GB.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from workers.delta.measure import Measurement, measure, methods, our_methods
from workers.delta.tiles import NotTileable, tile

TITLES = (
    *("pair", "method", "patch", "of new", "build s", "times one core", "CPU s", "MB/s per core", "RSS MB"),
    *("apply CPU s", "apply MB/s per core", "apply RSS MB", "first block ms"),
)
HEAD = "| " + " | ".join(TITLES) + " |", "|---|---|" + "--:|" * (len(TITLES) - 2)


def pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, old file and new file of every pair in a folder."""
    for new in sorted(folder.iterdir()):
        stem, _, form = new.name.partition(".")
        base = folder / f"base.{form}"
        if stem != "base" and form and base.exists():
            yield new.name, base, new


def measure_pair(
    old: Path, new: Path, scratch: Path | None = None, *, ours_only: bool = False
) -> list[Measurement]:
    """Every method that is installed here, on one pair.

    Args:
        old: the old file.
        new: the new file.
        scratch: where the results go for as long as they are needed; the system's place when None.
        ours_only: leave the other engines out.

    Raises:
        subprocess.CalledProcessError: a method failed.
    """
    names = our_methods() if ours_only else list(methods())
    with tempfile.TemporaryDirectory(dir=scratch) as work:
        return [measure(name, old, new, Path(work)) for name in names]


def measure_tiled(old: Path, new: Path, tiles: int, scratch: Path | None = None) -> list[Measurement]:
    """Our own engine on a pair that is repeated, in files that are removed afterwards.

    Raises:
        NotTileable: the format cannot be repeated.
        subprocess.CalledProcessError: a method failed.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        large = Path(folder) / "old", Path(folder) / "new"
        for small, path in zip((old, new), large, strict=True):
            tile(small, tiles, path)
        return measure_pair(*large, scratch, ours_only=True)


def rows(pair: str, measurements: list[Measurement]) -> list[str]:
    """The table's rows for one pair."""
    alone = {one.seconds for one in measurements if one.method == our_methods()[0]}
    return [_row(pair, each, next(iter(alone), None)) for each in measurements]


def _row(pair: str, one: Measurement, alone: float | None) -> str:
    size = one.target_size
    if one.patch_size is None:
        return _cells(pair, one.method, one.note)
    ours = one.method in our_methods()
    return _cells(
        pair,
        one.method,
        f"{one.patch_size:,}",
        f"{one.patch_size / max(size, 1):.2%}",
        f"{one.seconds:.2f}",
        f"{alone / one.seconds:.2f}" if alone and ours else "",
        f"{one.cpu_seconds:.2f}",
        f"{size / 1e6 / max(one.cpu_seconds, 1e-9):.1f}",
        f"{one.peak_rss_mb:.0f}",
        _shown(one.apply_cpu_seconds, ".2f"),
        _shown(size / 1e6 / one.apply_cpu_seconds if one.apply_cpu_seconds else None, ".0f"),
        _shown(one.apply_peak_rss_mb, ".0f"),
        _shown(one.first_block_ms, ".1f"),
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _cells(*cells: str) -> str:
    return "| " + " | ".join([*cells, *[""] * (len(TITLES) - len(cells))]) + " |"


def measured(
    name: str, old: Path, new: Path, tiles: int, scratch: Path | None, *, ours_only: bool
) -> Iterator[tuple[str, list[Measurement]]]:
    """The pair as it is, unless only its repetition was asked for; then repeated."""
    if not (ours_only and tiles > 1):
        yield name, measure_pair(old, new, scratch, ours_only=ours_only)
    if tiles > 1:
        try:
            yield f"{name} x {tiles}", measure_tiled(old, new, tiles, scratch)
        except NotTileable:
            return


def main() -> None:
    """Entrance of `make bench-delta`."""
    parser = argparse.ArgumentParser(description="Patches side by side with other engines.")
    parser.add_argument("folder", type=Path, help="holds base.X and NAME.X files")
    parser.add_argument(
        "--tiles", type=int, default=1, help="our engine also on each pair this often repeated"
    )
    parser.add_argument("--only", default="", help="pairs whose name has this in it")
    parser.add_argument("--ours", action="store_true", help="no other engines")
    parser.add_argument("--scratch", type=Path, help="folder for large files, which are removed afterwards")
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    options = parser.parse_args()
    report: dict[str, list[dict[str, object]]] = {}
    print("\n".join(HEAD), flush=True)  # noqa: T201 - the table is this program's output
    for name, old, new in pairs(options.folder):
        if options.only not in name:
            continue
        for shown, found in measured(name, old, new, options.tiles, options.scratch, ours_only=options.ours):
            report[shown] = [asdict(one) for one in found]
            print("\n".join(rows(shown, found)), flush=True)  # noqa: T201 - as above
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
