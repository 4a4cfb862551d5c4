"""Compare patch engines: `python -m workers.delta.benchmark FOLDER [--repeat N] [--json FILE]`.

The folder holds `base.X` and one or more `NAME.X` files (`full.X`, `fullrows.X`, ...); each is measured against
`base.X`. The table is printed as Markdown. With a small file most of the time is process start, so `--repeat`
also measures our engine on the pair repeated that many times: `--ours --only full.int8 --repeat 333` is 4.2 GB.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from workers.delta.benchmark.comparison import TABLE_HEAD, find_pairs, measure_pair_and_repeated, table_rows


def main() -> None:
    """Measure every pair in a folder and print the table."""
    options = _parse_arguments()
    report: dict[str, list[dict[str, object]]] = {}
    print("\n".join(TABLE_HEAD), flush=True)  # noqa: T201 - the table is this program's output
    for name, old, new in find_pairs(options.folder):
        if options.only not in name:
            continue
        results = measure_pair_and_repeated(
            name, old, new, options.repeat, options.scratch, ours_only=options.ours
        )
        for label, measurements in results:
            report[label] = [asdict(measurement) for measurement in measurements]
            print("\n".join(table_rows(label, measurements)), flush=True)  # noqa: T201 - as above
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare patch engines.")
    parser.add_argument("folder", type=Path, help="folder with base.X and NAME.X files")
    parser.add_argument(
        "--repeat", type=int, default=1, help="also measure our engine on N copies of each pair"
    )
    parser.add_argument("--only", default="", help="measure only pairs whose name contains this text")
    parser.add_argument("--ours", action="store_true", help="leave the other engines out")
    parser.add_argument("--scratch", type=Path, help="folder for large temporary files")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
