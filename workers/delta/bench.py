"""Patches side by side with other engines: `python -m workers.delta.bench FOLDER [--json FILE]`.

The folder holds `base.X` and one or more `NAME.X` (`full.X`, `fullrows.X`, ...); each is measured against
`base.X`. The table, in Markdown, goes to standard output.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from workers.delta.measure import Measurement, measure, methods

HEAD = (
    "| pair | method | patch | of new | build s | MB/s | CPU s | RSS MB | apply MB/s per core | apply RSS MB |",
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
)


def pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, old file and new file of every pair in a folder."""
    for new in sorted(folder.iterdir()):
        stem, _, form = new.name.partition(".")
        base = folder / f"base.{form}"
        if stem != "base" and form and base.exists():
            yield new.name, base, new


def measure_pair(old: Path, new: Path) -> list[Measurement]:
    """Every method that is installed here, on one pair.

    Raises:
        subprocess.CalledProcessError: a method failed.
    """
    with tempfile.TemporaryDirectory() as work:
        return [measure(name, old, new, Path(work)) for name in methods()]


def rows(pair: str, measurements: list[Measurement]) -> list[str]:
    """The table's rows for one pair."""
    return [_row(pair, each) for each in measurements]


def _row(pair: str, one: Measurement) -> str:
    size = one.target_size
    if one.patch_size is None:
        return f"| {pair} | {one.method} | {one.note} | | | | | | | |"
    apply_speed = size / 1e6 / one.apply_cpu_seconds if one.apply_cpu_seconds else None
    cells = [
        pair,
        one.method,
        f"{one.patch_size:,}",
        f"{one.patch_size / max(size, 1):.2%}",
        f"{one.seconds:.2f}",
        f"{size / 1e6 / max(one.seconds, 1e-9):.1f}",
        f"{one.cpu_seconds:.2f}",
        f"{one.peak_rss_mb:.0f}",
        "" if apply_speed is None else f"{apply_speed:.0f}",
        "" if one.apply_peak_rss_mb is None else f"{one.apply_peak_rss_mb:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Entrance of `make bench-delta`."""
    parser = argparse.ArgumentParser(description="Patches side by side with other engines.")
    parser.add_argument("folder", type=Path, help="holds base.X and NAME.X files")
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    options = parser.parse_args()
    found: dict[str, list[Measurement]] = {}
    print("\n".join(HEAD), flush=True)  # noqa: T201 - the table is this program's output
    for name, old, new in pairs(options.folder):
        found[name] = measure_pair(old, new)
        print("\n".join(rows(name, found[name])), flush=True)  # noqa: T201 - as above
    if options.json:
        report = {name: [asdict(one) for one in measured] for name, measured in found.items()}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
