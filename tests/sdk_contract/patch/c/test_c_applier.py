"""The applier in C makes what the page says, of anything: golden cases, our writer's patches, payloads by the page.

It is compiled with the sanitizers for addresses and undefined behaviour, and with an allocator that ends the process at
one allocation of more than 80 MiB. `GRAYLAG_FUZZ_MUTATIONS=100000` makes the mutations go on for so long.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard

from sdk_contract.patch import PatchError, parse_index
from sdk_contract.patch.container import BlockOp, BlockRecord, Header, pack_head
from sdk_contract.patch.payload.block import make_target, read_block_plan
from sdk_contract.patch.payload.elements import Element
from sdk_contract.vectors import load
from tests.sdk_contract.patch.memory_file import MemoryFile
from tests.sdk_contract.patch.payload.test_block import LANES, coded, mutated
from tests.sdk_contract.patch.random_payloads import Payload, Unframed, any_payload
from workers.delta.build import BuiltPatch, build_patch

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[3] / "sdk_contract/patch/c").glob("*.c"))
LIBRARY = [path for path in SOURCES if path.name != "main.c"]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIBRARIES = ["-lzstd", "-lcrypto"]
OPTIONS = "max_allocation_size_mb=80"
MUTATIONS = int(os.environ.get("GRAYLAG_FUZZ_MUTATIONS", "2000"))
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
PROBE = "#include <openssl/evp.h>\n#include <zstd.h>\nint main(void) { return !EVP_sha256() || !ZSTD_versionNumber(); }\n"
NAMES = {1: "write_failed", 2: "no_memory", 3: "wrong_use"}
NAMES |= {
    3001: "base_missing",
    3002: "base_mismatch",
    3003: "patch_corrupt",
    3004: "patch_too_large",
    3005: "patch_unsupported",
    3006: "patch_truncated",
    3007: "target_mismatch",
    3008: "index_mismatch",
}
NAMES_OF_USE = {"write_failed", "no_memory", "wrong_use"}
NOTHING = bytes(16)
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


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


class Driver:
    """The library in C, in a process of its own that applies what it is given."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"ASAN_OPTIONS": OPTIONS},
        )

    def apply(
        self,
        source: bytes,
        patch: bytes,
        index_sha256: bytes = b"",
        *,
        each: int = 4096,
        front: bytes = b"",
        done: int = 0,
    ) -> tuple[str, bytes]:
        """The name of the status, and the target as far as it was written."""
        head = struct.pack("<6I", len(source), len(patch), each, done, len(front), bool(index_sha256))
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(head + (index_sha256 or bytes(32)) + source + patch + front)
        self._process.stdin.flush()
        answer = self._process.stdout.read(8)
        assert len(answer) == 8, "it crashed"
        status, size = struct.unpack("<2I", answer)
        return NAMES[status] if status else "ok", self._process.stdout.read(size)

    def close(self) -> int:
        self._process.communicate()
        return self._process.returncode


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Driver]:
    driver = Driver(compile_c(folder, "driver", [*LIBRARY, HERE / "driver.c"], *SANITIZERS))
    yield driver
    assert driver.close() == 0, "a sanitizer has something to say, such as memory that is not given back"


@pytest.fixture(scope="module")
def command(folder: Path) -> Path:
    return compile_c(folder, "glp1-apply", SOURCES, "-O2")


def short(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def one_block(source: bytes, record: BlockRecord, payload: bytes, target: bytes) -> bytes:
    """A patch of one coded block, that has the right digests of whatever it holds."""
    record = BlockRecord(
        BlockOp.CODED, False, len(target), len(payload), record.source_offset, record.source_span, record.source_size,
        short(payload), NOTHING, short(target),
    )  # fmt: skip
    whole = [hashlib.sha256(each).digest() for each in (source, target)]
    header = Header(False, len(source), len(target), *whole, len(payload), 1, 1 << 15, 2 << 20)
    return pack_head(header, [record]) + payload


def record_of(case: Payload) -> BlockRecord:
    span = case.source_offset, case.source_span, case.source_size
    return BlockRecord(
        BlockOp.CODED, False, len(case.target), len(case.data), *span, NOTHING, NOTHING, NOTHING
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_library_compiles_without_a_warning(compiler, folder):
    compile_c(folder, f"by-{compiler}", SOURCES, "-O2", compiler=compiler)


@pytest.mark.parametrize("case", load("patch"), ids=lambda case: case["id"])
def test_the_golden_vectors_pass(case, driver):
    inputs, expected = case["inputs"], case["expect"]
    source, patch = (base64.b64decode(inputs[name]) for name in ("source", "patch"))
    status, target = driver.apply(source, patch, bytes.fromhex(inputs["index_sha256"]))
    if expected["result"] == "accept":
        assert (status, hashlib.sha256(target).hexdigest()) == ("ok", expected["sha256"])
    else:
        assert status == expected["code"]


@pytest.mark.parametrize("name", LANES)
def test_blocks_of_our_writer_are_decoded(name, driver):
    payload, record, source, target = coded(name)
    assert driver.apply(source.data, one_block(source.data, record, payload, target)) == ("ok", target)


def test_random_payloads_of_the_specification_are_decoded(driver):
    rng = np.random.default_rng(1)
    decompressor = zstandard.ZstdDecompressor()
    for _ in range(400):
        case = any_payload(rng)
        assert (
            bytes(make_target(case.data, record_of(case), MemoryFile(case.source).read, decompressor))
            == case.target
        )
        patch = one_block(case.source, record_of(case), case.data, case.target)
        assert driver.apply(case.source, patch) == ("ok", case.target)


def has_halves(payload: bytes, record: BlockRecord) -> bool:
    lanes = read_block_plan(payload, record).lanes
    return any(field.element == Element.INT4 for lane in lanes for field in lane.fields)


def by_the_reference(payload: bytes, record: BlockRecord, source: bytes) -> tuple[str, bytes]:
    try:
        return "ok", bytes(
            make_target(payload, record, MemoryFile(source).read, zstandard.ZstdDecompressor())
        )
    except PatchError as fault:
        return fault.code, b""


@pytest.mark.slow
@pytest.mark.timeout(0 if MUTATIONS > 10_000 else 180)
def test_mutated_payloads_have_the_same_result_as_in_the_reference(driver):
    """A named error in both, or the same bytes in both: the target digest is the one of what the reference makes."""
    rng = np.random.default_rng(2)
    made = 0
    for number in range(MUTATIONS):
        if number % 8 == 0:
            case = any_payload(Unframed(rng))
        record, changed = record_of(case), mutated(rng, case.data)
        wanted = by_the_reference(changed, record, case.source)
        patch = one_block(case.source, record, changed, wanted[1] or case.target)
        got = driver.apply(case.source, patch)
        made += wanted[0] == "ok"
        # Which of two broken rules is met first is for the reader to choose; and of a symbol above 15 the
        # reference makes something, which a target digest has to tell.
        either = {got[0], wanted[0]} == {"patch_corrupt", "patch_unsupported"} and got[1] == b""
        refused = got == ("patch_corrupt", b"") and wanted[0] == "ok" and has_halves(changed, record)
        assert got == wanted or either or refused
    assert MUTATIONS // 20 < made < MUTATIONS // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", LANES)
def test_mutated_blocks_of_our_writer_end_with_an_error_or_correct_bytes(name, driver):
    rng = np.random.default_rng(3)
    payload, record, source, target = coded(name)
    refused = 0
    for _ in range(MUTATIONS // 10):
        patch = one_block(source.data, record, mutated(rng, payload), target)
        status, written = driver.apply(source.data, patch)
        assert (status, written) == ("ok", target) or (status not in {"ok", *NAMES_OF_USE} and written == b"")
        refused += status != "ok"
    assert refused > MUTATIONS // 20


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """A file of several blocks of every kind, and its successor."""
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
    header, at = {"__metadata__": {"note": note}}, 0
    for name, (dtype, data) in tensors.items():
        count = len(data) // {"BF16": 2, "F32": 4}.get(dtype, 1)
        header[name] = {"dtype": dtype, "shape": [count], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def build(old: bytes, new: bytes, **options: bool) -> tuple[bytes, bytes]:
    out = io.BytesIO()
    built = build_patch(MemoryFile(old), MemoryFile(new), out, threads=1, **options)
    assert isinstance(built, BuiltPatch)
    return out.getvalue(), built.index_sha256


@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize("each", [77, 1 << 16, 1 << 30])
def test_files_of_our_writer_are_applied_with_any_chunk_size(pair, each, reversible, driver):
    patch, index = build(*pair, reversible=reversible)
    assert driver.apply(pair[0], patch, index, each=each) == ("ok", pair[1])


def test_the_library_resumes_at_any_block(pair, driver):
    patch, index = build(*pair)
    head = parse_index(patch)
    for block in range(len(head.records) + 1):
        front = pair[1][: head.target_offset(block)]
        assert driver.apply(pair[0], patch, index, front=front, done=block) == ("ok", pair[1])
    damaged = pair[1][: head.target_offset(1) - 1] + b"?"
    assert driver.apply(pair[0], patch, index, front=damaged, done=1)[0] == "target_mismatch"


def test_the_library_writes_complete_blocks_only(pair, driver):
    patch, index = build(*pair)
    head = parse_index(patch)
    ends = {head.target_offset(block) for block in range(len(head.records) + 1)}
    for cut in np.linspace(0, head.payload_offset(len(head.records)) - 1, 30).astype(int):
        status, written = driver.apply(pair[0], patch[:cut], index)
        assert status == "patch_truncated"
        assert len(written) in ends
        assert pair[1].startswith(written)


def test_the_command_writes_the_file_or_reports_the_error(pair, command, tmp_path: Path):
    patch, index = build(*pair)
    (tmp_path / "old").write_bytes(pair[0])
    (tmp_path / "patch").write_bytes(patch)
    call = [command, "old", "patch", "new", "--index-sha256", index.hex()]
    assert subprocess.run(call, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "new").read_bytes() == pair[1]
    (tmp_path / "old").write_bytes(pair[0][:-20_000] + b"?" + pair[0][-19_999:])
    refused = subprocess.run(
        [*call[:3], "other", *call[4:]], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 12
    assert refused.stderr.startswith("base_mismatch 3002: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "patch"]


def test_the_command_resumes_an_interrupted_patch(pair, command, tmp_path: Path):
    patch, index = build(*pair)
    (tmp_path / "old").write_bytes(pair[0])
    (tmp_path / "patch").write_bytes(patch[: len(patch) // 2])
    call = [command, "old", "patch", "new", "--index-sha256", index.hex()]
    cut = subprocess.run(call, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert cut.returncode == 16
    blocks = cut.stderr.split()[2]
    assert int(blocks) > 0
    (tmp_path / "patch").write_bytes(patch)
    assert subprocess.run([*call, "--resume", blocks], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "new").read_bytes() == pair[1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(command, tmp_path: Path):
    """Six times the file takes no more memory: the working set is that of a block."""
    most = []
    for size in (4_000_000, 24_000_000):
        rng = np.random.default_rng(7)
        weights = np.frombuffer(rng.bytes(size), np.uint8)
        moved = (weights + (rng.random(size, np.float32) < 0.1)).astype(np.uint8)
        old, new = (safetensors({"w": ("I8", part.tobytes())}, "") for part in (weights, moved))
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "patch").write_bytes(build(old, new)[0])
        watched = [sys.executable, "-c", WATCH, str(command), "old", "patch", "new"]
        most.append(int(subprocess.run(watched, cwd=tmp_path, check=True, capture_output=True).stdout))
        assert (tmp_path / "new").read_bytes() == new
    assert most[1] < most[0] + 2048
