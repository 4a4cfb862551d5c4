"""Measure one engine on one pair in a process of its own: size, time, processor time and peak memory.

`python -m workers.delta.benchmark.measurement ENGINE OLD NEW WORK` prints a JSON object. Each run is a new process,
because the peak memory of a process never falls.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sdk_contract.patch import Applier, apply_patch
from sdk_contract.patch.files import FileRange
from workers.delta.benchmark.engines import OURS, Engine, NoPatch, engines, our_engine_names

APPLY, FIRST_BLOCK = "apply", "first block"
PATCH_TO_APPLY = "patch-to-apply"
DOWNLOAD_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Measurement:
    """The cost of one run.

    Attributes:
        method: name of the engine.
        target_size, patch_size: bytes; patch size None if the engine made no patch.
        seconds, cpu_seconds: wall and processor time of building the patch, all processes together.
        peak_rss_mb: 10^6 bytes, the sum of the peaks of all processes that built the patch.
        apply_seconds, apply_cpu_seconds, apply_peak_rss_mb: the same for applying, where measured.
        first_block_ms: from opening the patch to the first block that is verified and written.
        note: why there is no patch.
    """

    method: str
    target_size: int
    patch_size: int | None
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    apply_seconds: float | None = None
    apply_cpu_seconds: float | None = None
    apply_peak_rss_mb: float | None = None
    first_block_ms: float | None = None
    note: str = ""


def measure(method: str, old: Path, new: Path, work: Path) -> Measurement:
    """Run an engine, and for our own the applier, each in a process of its own.

    Args:
        method: a name from `engine_names`.
        old: the old file.
        new: the new file.
        work: a folder for the results.

    Raises:
        subprocess.CalledProcessError: the engine failed.
    """
    built = Measurement(**_run_in_child(method, old, new, work))
    if built.patch_size is None or not method.startswith(OURS):
        return built
    (work / "patch").replace(work / PATCH_TO_APPLY)
    first_block = _run_in_child(FIRST_BLOCK, old, new, work)
    applied = _run_in_child(APPLY, old, new, work)
    return replace(
        built,
        apply_seconds=applied["seconds"],
        apply_cpu_seconds=applied["cpu_seconds"],
        apply_peak_rss_mb=applied["peak_rss_mb"],
        first_block_ms=1e3 * first_block["seconds"],
    )


def _run_in_child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "workers.delta.benchmark.measurement", *map(str, arguments)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(child.stdout)
    return result


def _run(name: str, engine: Engine, old: Path, new: Path, work: Path) -> Measurement:
    patch, note = work / "patch", ""
    patch.unlink(missing_ok=True)
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    try:
        engine(old, new, patch)
    except NoPatch as reason:
        note = str(reason)
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_before
    size = None if note else patch.stat().st_size
    return Measurement(
        name, new.stat().st_size, size, seconds, cpu_seconds, round(_peak_rss_mb(name), 1), note=note
    )


def _cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_rss_mb(name: str) -> float:
    own, child = (
        resource.getrusage(who).ru_maxrss * 1024 / 1e6
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # A tool is one child process. Our engine is this process and a child for each further core.
    return own + child * our_engine_names().index(name) if name in our_engine_names() else max(own, child)


def _apply(patch: Path, old: Path, new: Path, out: Path) -> None:
    applied = apply_patch(old, patch, out)
    if applied.bytes_written != new.stat().st_size:
        raise NoPatch("the applied file has another size")


def _first_block(patch: Path, old: Path, _new: Path, out: Path) -> None:
    """Feed the patch in chunks, as a download arrives, until the first block is written."""
    with old.open("rb") as source, patch.open("rb") as download, out.open("wb") as target:
        applier = Applier(FileRange(source), FileRange(target))
        while not applier.blocks_done and (chunk := download.read(DOWNLOAD_CHUNK_BYTES)):
            applier.feed(chunk)


def main(arguments: list[str]) -> None:
    """Run one engine in this process and print one JSON object."""
    name, old, new, work = arguments[0], *map(Path, arguments[1:4])
    if name in {APPLY, FIRST_BLOCK}:
        engine: Engine = partial(_apply if name == APPLY else _first_block, work / PATCH_TO_APPLY)
    else:
        engine = engines()[name]
    sys.stdout.write(json.dumps(asdict(_run(name, engine, old, new, work))))


if __name__ == "__main__":
    main(sys.argv[1:])
