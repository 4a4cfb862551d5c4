"""The patch engines that can be measured: ours, libraries, and command-line tools that are installed."""

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bsdiff4
import zstandard

from sdk_contract.formats import GLP1
from workers.delta.bsdiff40_export import export_bsdiff40
from workers.delta.build import NotWorthIt, build_patch
from workers.delta.local_file import LocalFile

OURS = GLP1
# bsdiff needs 17 times the file in memory, HDiffPatch holds both files.
MAX_WHOLE_FILE_BYTES = 64 << 20
MAX_ZSTD_BYTES = 1 << 30
ZSTD_LEVEL = 19
Engine = Callable[[Path, Path, Path], None]
"""(old, new, patch): write the patch."""


class NoPatch(Exception):
    """The engine made no patch; the message says why."""


def our_engine_names(max_cores: int = 2) -> list[str]:
    """Names of our engine on one core, two cores, and so on."""
    return [f"{OURS}, {cores} core{'s' * (cores > 1)}" for cores in range(1, max_cores + 1)]


def engine_names() -> list[str]:
    """Names of everything that can be measured on this machine."""
    return list(engines())


def engines() -> dict[str, Engine]:
    """Engines by name; tools that are not installed are left out."""
    found: dict[str, Engine] = {
        name: partial(_glp1, cores) for cores, name in enumerate(our_engine_names(), start=1)
    }
    found |= {"bsdiff40 export": _bsdiff40, "bsdiff4": _bsdiff4, f"zstd -{ZSTD_LEVEL} patch-from": _zstd}
    if importlib.util.find_spec("hdiffpatch"):
        found["HDiffPatch, lzma2"] = _hdiffpatch
    if shutil.which("hdiffz"):
        found["hdiffz -s"] = _hdiffz
    if shutil.which("xdelta3"):
        found["xdelta3"] = _xdelta3
    return found


def _glp1(threads: int, old: Path, new: Path, patch: Path) -> None:
    with LocalFile(old) as source, LocalFile(new) as target, patch.open("wb") as out:
        built = build_patch(source, target, out, threads=threads)
    if isinstance(built, NotWorthIt):
        raise NoPatch(f"not worth it: {built.patch_size} of {built.full_size} bytes")


def _bsdiff40(old: Path, new: Path, patch: Path) -> None:
    with LocalFile(old) as source, LocalFile(new) as target, patch.open("wb") as out:
        export_bsdiff40(source, target, out)


def _bsdiff4(old: Path, new: Path, patch: Path) -> None:
    _require_at_most(new, MAX_WHOLE_FILE_BYTES)
    bsdiff4.file_diff(str(old), str(new), str(patch))


def _zstd(old: Path, new: Path, patch: Path) -> None:
    _require_at_most(new, MAX_ZSTD_BYTES)
    window_log = max(old.stat().st_size, new.stat().st_size).bit_length()
    params = zstandard.ZstdCompressionParameters.from_level(
        ZSTD_LEVEL, window_log=window_log, enable_ldm=True
    )
    dictionary = zstandard.ZstdCompressionDict(old.read_bytes(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(compression_params=params, dict_data=dictionary)
    patch.write_bytes(compressor.compress(new.read_bytes()))


def _hdiffpatch(old: Path, new: Path, patch: Path) -> None:
    """Use the Python module of HDiffPatch, which is no dependency of ours and imported only if installed."""
    _require_at_most(new, MAX_WHOLE_FILE_BYTES)
    module = importlib.import_module("hdiffpatch")
    compression = module.Lzma2Config()  # the codec of the module with the smallest patches of weights
    patch.write_bytes(module.diff(old.read_bytes(), new.read_bytes(), compression, validate=False))


def _hdiffz(old: Path, new: Path, patch: Path) -> None:
    command = ["hdiffz", "-f", "-s-64", "-c-zstd-19", str(old), str(new), str(patch)]
    subprocess.run(command, check=True, capture_output=True)


def _xdelta3(old: Path, new: Path, patch: Path) -> None:
    window = str(max(old.stat().st_size, 1 << 20))
    command = ["xdelta3", "-e", "-9", "-f", "-B", window, "-s", str(old), str(new), str(patch)]
    subprocess.run(command, check=True, capture_output=True)


def _require_at_most(path: Path, max_bytes: int) -> None:
    if path.stat().st_size > max_bytes:
        raise NoPatch(f"not measured above {max_bytes >> 20} MiB")
