"""Measure all engines on pairs of files, and render the results as a Markdown table."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from workers.delta.benchmark.engines import engine_names, our_engine_names
from workers.delta.benchmark.measurement import Measurement, measure
from workers.delta.benchmark.synthetic_files import UnsupportedFormat, write_repeated

TITLES = (
    *("pair", "method", "patch", "of new", "build s", "times one core", "CPU s", "MB/s per core", "RSS MB"),
    *("apply CPU s", "apply MB/s per core", "apply RSS MB", "first block ms"),
)
TABLE_HEAD = "| " + " | ".join(TITLES) + " |", "|---|---|" + "--:|" * (len(TITLES) - 2)


def find_pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield the name, old file and new file of every pair in a folder."""
    for new in sorted(folder.iterdir()):
        stem, _, suffix = new.name.partition(".")
        base = folder / f"base.{suffix}"
        if stem != "base" and suffix and base.exists():
            yield new.name, base, new


def measure_pair(
    old: Path, new: Path, scratch: Path | None = None, *, ours_only: bool = False
) -> list[Measurement]:
    """Measure every installed engine on one pair.

    Args:
        old: the old file.
        new: the new file.
        scratch: folder for temporary results; the system's default if None.
        ours_only: leave the other engines out.

    Raises:
        subprocess.CalledProcessError: an engine failed.
    """
    names = our_engine_names() if ours_only else engine_names()
    with tempfile.TemporaryDirectory(dir=scratch) as work:
        return [measure(name, old, new, Path(work)) for name in names]


def measure_repeated(old: Path, new: Path, repeat: int, scratch: Path | None = None) -> list[Measurement]:
    """Measure our engine on temporary files that hold the pair's tensors `repeat` times.

    Raises:
        UnsupportedFormat: files of this format cannot be repeated.
        subprocess.CalledProcessError: the engine failed.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        repeated = Path(folder) / "old", Path(folder) / "new"
        for original, path in zip((old, new), repeated, strict=True):
            write_repeated(original, repeat, path)
        return measure_pair(*repeated, scratch, ours_only=True)


def measure_pair_and_repeated(
    name: str, old: Path, new: Path, repeat: int, scratch: Path | None, *, ours_only: bool
) -> Iterator[tuple[str, list[Measurement]]]:
    """Yield a label and measurements for the pair, then for the repeated pair if `repeat` is above 1.

    With `ours_only` and a `repeat` above 1 only the repeated pair is measured.
    """
    if not (ours_only and repeat > 1):
        yield name, measure_pair(old, new, scratch, ours_only=ours_only)
    if repeat > 1:
        try:
            yield f"{name} x {repeat}", measure_repeated(old, new, repeat, scratch)
        except UnsupportedFormat:
            return


def table_rows(pair: str, measurements: list[Measurement]) -> list[str]:
    """Render the table rows of one pair."""
    one_core = next((m.seconds for m in measurements if m.method == our_engine_names()[0]), None)
    return [_table_row(pair, measurement, one_core) for measurement in measurements]


def _table_row(pair: str, measured: Measurement, one_core: float | None) -> str:
    size = measured.target_size
    if measured.patch_size is None:
        return _cells(pair, measured.method, measured.note)
    ours = measured.method in our_engine_names()
    return _cells(
        pair,
        measured.method,
        f"{measured.patch_size:,}",
        f"{measured.patch_size / max(size, 1):.2%}",
        f"{measured.seconds:.2f}",
        f"{one_core / measured.seconds:.2f}" if one_core and ours else "",
        f"{measured.cpu_seconds:.2f}",
        f"{size / 1e6 / max(measured.cpu_seconds, 1e-9):.1f}",
        f"{measured.peak_rss_mb:.0f}",
        _format_optional(measured.apply_cpu_seconds, ".2f"),
        _format_optional(
            size / 1e6 / measured.apply_cpu_seconds if measured.apply_cpu_seconds else None, ".0f"
        ),
        _format_optional(measured.apply_peak_rss_mb, ".0f"),
        _format_optional(measured.first_block_ms, ".1f"),
    )


def _format_optional(value: float | None, format_spec: str) -> str:
    return "" if value is None else f"{value:{format_spec}}"


def _cells(*cells: str) -> str:
    return "| " + " | ".join([*cells, *[""] * (len(TITLES) - len(cells))]) + " |"
