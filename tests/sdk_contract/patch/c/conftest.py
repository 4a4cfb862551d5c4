"""Fixtures: the C library under sanitizers, its command, and a pair of weight files.

The library is compiled with the address and undefined-behavior sanitizers, and with an allocator that aborts at a single
allocation of more than 80 MiB.
"""

import io
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.sdk_contract.patch.c.driver import Driver
from tests.sdk_contract.patch.memory_file import MemoryFile
from workers.delta.build import BuiltPatch, build_patch

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[3] / "sdk_contract/patch/c").glob("*.c"))
LIBRARY = [path for path in SOURCES if path.name != "main.c"]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIBRARIES = ["-lzstd", "-lcrypto"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
PROBE = "#include <openssl/evp.h>\n#include <zstd.h>\nint main(void) { return !EVP_sha256() || !ZSTD_versionNumber(); }\n"


def compile_c(
    folder: Path,
    name: str,
    sources: list[Path],
    *flags: str,
    compiler: str = COMPILERS[0] if COMPILERS else "",
) -> Path:
    program = folder / name
    include = f"-I{SOURCES[0].parent}"
    subprocess.run(
        [compiler, *WARNINGS, *flags, include, *map(str, sources), *LIBRARIES, "-o", str(program)], check=True
    )
    return program


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    probe = folder / "probe.c"
    probe.write_text(PROBE)
    if not COMPILERS:
        pytest.skip("no C compiler")
    wanted = [COMPILERS[0], *SANITIZERS, str(probe), *LIBRARIES, "-o", str(folder / "probe")]
    if subprocess.run(wanted, check=False, capture_output=True).returncode:
        pytest.skip("headers of libzstd and libcrypto, or the sanitizers, are not installed")
    return folder


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Driver]:
    driver = Driver(compile_c(folder, "driver", [*LIBRARY, HERE / "driver.c"], *SANITIZERS))
    yield driver
    assert driver.close() == 0, "a sanitizer reported an error, such as a memory leak"


@pytest.fixture(scope="module")
def command(folder: Path) -> Path:
    return compile_c(folder, "glp1-apply", SOURCES, "-O2")


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """A file with several blocks of every kind, and its next version."""
    rng = np.random.default_rng(5)
    weights = rng.normal(0, 0.05, (900, 600)).astype("<f4")
    trained = weights + rng.normal(0, 2e-4, weights.shape).astype("<f4")
    codes = rng.integers(-127, 128, 1_300_000).astype(np.int8)
    moved = (codes + (rng.random(codes.shape) < 0.2)).astype(np.int8)
    text = rng.bytes(9000)
    header = rng.bytes(40)
    files = []
    for floats, bytes_, middle in (
        (weights, codes, text),
        (trained, moved, text[:100] + b"new" + text[100:]),
    ):
        halves = (floats.view("<u4") >> 16).astype("<u2").tobytes()
        tensors = {
            "a": ("BF16", halves),
            "b": ("F32", floats.tobytes()),
            "c": ("I8", bytes_.tobytes()),
            "t": ("U8", middle),
        }
        files.append(safetensors(tensors, header.hex()))
    return files[0], files[1]


def safetensors(tensors: dict[str, tuple[str, bytes]], note: str) -> bytes:
    header: dict[str, dict[str, object]] = {"__metadata__": {"note": note}}
    at = 0
    for name, (dtype, data) in tensors.items():
        count = len(data) // {"BF16": 2, "F32": 4}.get(dtype, 1)
        header[name] = {"dtype": dtype, "shape": [count], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def build(old: bytes, new: bytes, *, reversible: bool = False) -> tuple[bytes, bytes]:
    out = io.BytesIO()
    built = build_patch(MemoryFile(old), MemoryFile(new), out, threads=1, reversible=reversible)
    assert isinstance(built, BuiltPatch)
    return out.getvalue(), built.index_sha256
