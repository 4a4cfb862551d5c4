"""One method on one pair, in a process of its own: size, time, processor time and peak memory.

`python -m workers.delta.measure METHOD OLD NEW WORK` prints a JSON object. Each run is a fresh process, because
peak memory only rises.
"""

import importlib
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import bsdiff4
import zstandard

from sdk_contract.patch import Applier, apply_patch
from sdk_contract.patch.files import FileRange
from workers.delta.bsdiff40 import export_bsdiff40
from workers.delta.build import NotWorthIt, build_patch
from workers.delta.ranges import LocalFile

# Above this, methods that hold both files (bsdiff 17 times) are not asked.
WHOLE_FILE_MOST = 64 << 20
ZSTD_MOST = 1 << 30
ZSTD_LEVEL = 19
OURS, APPLY, FIRST_BLOCK, MADE = "glp1", "apply", "first block", "made"
# How much of a patch arrives at a time.
ARRIVING = 64 << 10
Method = Callable[[Path, Path, Path], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run cost.

    Attributes:
        method: its name in the table.
        target_size, patch_size: bytes; patch size None when the method gave none.
        seconds, cpu_seconds: wall and processor time of making the patch, all its processes together.
        peak_rss_mb: of all processes that made it, in 10^6 bytes: the sum of what each needed at most.
        apply_seconds, apply_cpu_seconds, apply_peak_rss_mb: the same for applying, where measured.
        first_block_ms: from opening the patch to the first block that is checked and written.
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


class _NoPatch(Exception):
    """The method gave none, and why."""


def our_methods(most: int = 2) -> list[str]:
    """Names of our own engine's runs, on one core and more."""
    return [f"{OURS}, {count} core{'s' * (count > 1)}" for count in range(1, most + 1)]


def methods() -> dict[str, Method]:
    """Everything that can be measured here, by name; tools that are not installed are left out."""
    ours = {name: partial(_glp1, count + 1) for count, name in enumerate(our_methods())}
    found: dict[str, Method] = {
        **ours,
        "bsdiff40 export": _bsdiff40,
        "bsdiff4": _bsdiff4,
        f"zstd -{ZSTD_LEVEL} patch-from": _zstd,
    }
    if importlib.util.find_spec("hdiffpatch"):
        found["HDiffPatch, lzma2"] = _hdiffpatch
    if shutil.which("hdiffz"):
        found["hdiffz -s"] = partial(_tool, ["hdiffz", "-f", "-s-64", "-c-zstd-19"])
    if shutil.which("xdelta3"):
        found["xdelta3"] = partial(_xdelta3)
    return found


def measure(method: str, old: Path, new: Path, work: Path) -> Measurement:
    """Run a method, and for `glp1` the applier, each in a process of its own.

    Args:
        method: a name from `methods`.
        old: the old file.
        new: the new file.
        work: a folder for the results.

    Raises:
        subprocess.CalledProcessError: the method failed.
    """
    made = Measurement(**_child(method, old, new, work))
    if made.patch_size is None or not method.startswith(OURS):
        return made
    (work / "patch").replace(work / MADE)
    first, applied = _child(FIRST_BLOCK, old, new, work), _child(APPLY, old, new, work)
    return replace(
        made,
        apply_seconds=applied["seconds"],
        apply_cpu_seconds=applied["cpu_seconds"],
        apply_peak_rss_mb=applied["peak_rss_mb"],
        first_block_ms=1e3 * first["seconds"],
    )


def _child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "workers.delta.measure", *map(str, arguments)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _run(name: str, method: Method, old: Path, new: Path, work: Path) -> Measurement:
    patch, note = work / "patch", ""
    patch.unlink(missing_ok=True)
    started, before = time.perf_counter(), _cpu_seconds()
    try:
        method(old, new, patch)
    except _NoPatch as reason:
        note = str(reason)
    seconds, used = time.perf_counter() - started, _cpu_seconds() - before
    own, child = (
        resource.getrusage(who).ru_maxrss * 1024 / 1e6
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # A tool is one child, and we are not it; our own engine has us and a child for each further core.
    rss = own + child * (our_methods().index(name)) if name in our_methods() else max(own, child)
    size = None if note else patch.stat().st_size
    return Measurement(name, new.stat().st_size, size, seconds, used, round(rss, 1), note=note)


def _cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _glp1(threads: int, old: Path, new: Path, patch: Path) -> None:
    with LocalFile(old) as source, LocalFile(new) as target, patch.open("wb") as out:
        answer = build_patch(source, target, out, threads=threads)
    if isinstance(answer, NotWorthIt):
        raise _NoPatch(f"not worth it: {answer.predicted_size} of {answer.full_size}")


def _bsdiff40(old: Path, new: Path, patch: Path) -> None:
    with LocalFile(old) as source, LocalFile(new) as target, patch.open("wb") as out:
        export_bsdiff40(source, target, out)


def _bsdiff4(old: Path, new: Path, patch: Path) -> None:
    _refuse_above(new, WHOLE_FILE_MOST)
    bsdiff4.file_diff(str(old), str(new), str(patch))


def _zstd(old: Path, new: Path, patch: Path) -> None:
    _refuse_above(new, ZSTD_MOST)
    data = old.read_bytes()
    log = max(old.stat().st_size, new.stat().st_size).bit_length()
    params = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=log, enable_ldm=True)
    dictionary = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(compression_params=params, dict_data=dictionary)
    patch.write_bytes(compressor.compress(new.read_bytes()))


def _hdiffpatch(old: Path, new: Path, patch: Path) -> None:
    """The library itself, as the Python module of its name has it; nothing here needs it, so it is looked for."""
    _refuse_above(new, WHOLE_FILE_MOST)
    module = importlib.import_module("hdiffpatch")
    compression = module.Lzma2Config()  # of its codecs the one with the smallest patches of weights
    patch.write_bytes(module.diff(old.read_bytes(), new.read_bytes(), compression, validate=False))


def _tool(command: list[str], old: Path, new: Path, patch: Path) -> None:
    subprocess.run([*command, str(old), str(new), str(patch)], check=True, capture_output=True)


def _xdelta3(old: Path, new: Path, patch: Path) -> None:
    window = str(max(old.stat().st_size, 1 << 20))
    command = ["xdelta3", "-e", "-9", "-f", "-B", window, "-s", str(old), str(new), str(patch)]
    subprocess.run(command, check=True, capture_output=True)


def _apply(made: Path, old: Path, new: Path, out: Path) -> None:
    applied = apply_patch(old, made, out)
    if applied.bytes_written != new.stat().st_size:
        raise _NoPatch("another size")


def _first_block(made: Path, old: Path, _new: Path, out: Path) -> None:
    """As it goes on a device: the bytes come in order, and the first block stands when it is checked."""
    with old.open("rb") as source, made.open("rb") as download, out.open("wb") as target:
        applier = Applier(FileRange(source), FileRange(target))
        while not applier.blocks and (chunk := download.read(ARRIVING)):
            applier.feed(chunk)


def _refuse_above(path: Path, most: int) -> None:
    if path.stat().st_size > most:
        raise _NoPatch(f"not asked above {most >> 20} MiB")


def main(arguments: list[str]) -> None:
    """The child process: one method, one JSON object."""
    name, old, new, work = arguments[0], *map(Path, arguments[1:4])
    if name in {APPLY, FIRST_BLOCK}:
        method: Method = partial(_apply if name == APPLY else _first_block, work / MADE)
    else:
        method = methods()[name]
    sys.stdout.write(json.dumps(asdict(_run(name, method, old, new, work))))


if __name__ == "__main__":
    main(sys.argv[1:])
