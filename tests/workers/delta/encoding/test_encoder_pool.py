"""Encoding on several cores gives the same bytes, leaves no process behind, and reports a dead process."""

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import wait_until
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.dtype_lanes import BYTES
from workers.delta.encoding.block import encode_block
from workers.delta.encoding.encoded import BlockResult
from workers.delta.encoding.encoder_pool import EncoderDied, EncoderPool
from workers.delta.local_file import LocalFile
from workers.delta.matching.alignment import Piece

BLOCK = 64 << 10
LARGE = 80 << 20
# Starts a pool, prints the ids of its processes, and waits.
BUILDER = """
import sys, time
from pathlib import Path
from workers.delta.encoding.encoder_pool import EncoderPool
from workers.delta.local_file import LocalFile
old, new = map(Path, sys.argv[1:])
with LocalFile(old) as source, LocalFile(new) as target, EncoderPool(source, target, 3) as pool:
    pool.start()
    print(*(encoder.process.pid for encoder in pool.encoders), flush=True)
    time.sleep(60)
"""

# Celery tasks run in a daemonic process, which may not have children of `multiprocessing`.
TASK = """
import io, multiprocessing, sys
from pathlib import Path
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.local_file import LocalFile
def task(old, new):
    with LocalFile(old) as source, LocalFile(new) as target:
        built = build_patch(source, target, io.BytesIO(), threads=2)
    print(built.patch_sha256.hex())
process = multiprocessing.get_context("fork").Process(target=task, args=map(Path, sys.argv[1:]), daemon=True)
process.start()
process.join()
sys.exit(process.exitcode)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files of 80 MiB, enough work for processes: an eighth is equal, a tenth of the rest differs by one."""
    folder = tmp_path_factory.mktemp("cores")
    rng = np.random.default_rng(3)
    old = rng.integers(0, 256, LARGE, np.uint8)
    new = old + (rng.random(LARGE, np.float32) < 0.1).view(np.uint8)
    new[-LARGE // 8 :] = old[-LARGE // 8 :]
    for name, data in (("old", old), ("new", new)):
        (folder / name).write_bytes(data.tobytes())
    return folder / "old", folder / "new"


def blocks(count: int) -> list[tuple[Piece, ...]]:
    return [(Piece(BYTES, at * BLOCK, BLOCK, at * BLOCK, BLOCK),) for at in range(count)]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_blocks_are_in_order_and_equal_to_those_of_one_process(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        expected = [encode_block(pieces, source, target) for pieces in blocks(40)]
        with EncoderPool(source, target, 3) as pool:
            pool.start()
            made = list(pool.encode(blocks(40), {}, reversible=False))
    assert [bytes(block.target) for block in made] == [bytes(block.target) for block in expected]
    assert [block.payload for block in made] == [block.payload for block in expected]
    assert [block.pieces for block in made] == [block.pieces for block in expected]


def test_known_results_are_not_encoded_again(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        expected = [encode_block(pieces, source, target) for pieces in blocks(40)]
        known = {
            at: BlockResult.from_block(expected[at])._replace(payload=bytes((at,)))
            for at in (0, 1, 7, 20, 21, 22, 39)
        }
        for count in (1, 3):
            with EncoderPool(source, target, count) as pool:
                pool.start()
                made = list(pool.encode(blocks(40), known, reversible=False))
            payloads = [known[at].payload if at in known else expected[at].payload for at in range(40)]
            assert [block.payload for block in made] == payloads
            assert [bytes(block.target) for block in made] == [bytes(block.target) for block in expected]


@pytest.mark.parametrize("reversible", [False, True])
def test_a_large_pair_gives_the_same_patch_on_one_core_and_on_three(files, reversible):
    patches = []
    for cores in (1, 3):
        out = io.BytesIO()
        with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
            built = build_patch(source, target, out, threads=cores, reversible=reversible)
            assert isinstance(built, BuiltPatch)
        patches.append(out.getvalue())
    assert patches[0] == patches[1]


def test_files_replaced_during_the_build_are_not_read(files, tmp_path):
    path = tmp_path / "new"
    path.write_bytes(files[1].read_bytes()[: 20 * BLOCK])
    with LocalFile(files[0]) as source, LocalFile(path) as target:
        path.unlink()
        path.write_bytes(bytes(20 * BLOCK))
        expected = [encode_block(pieces, source, target).payload for pieces in blocks(20)]
        with EncoderPool(source, target, 2) as pool:
            pool.start()
            made = [block.payload for block in pool.encode(blocks(20), {}, reversible=False)]
    assert made == expected


def test_all_processes_have_ended_after_the_build(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        with EncoderPool(source, target, 3) as pool:
            pool.start()
            list(pool.encode(blocks(8), {}, reversible=False))
            pids = [encoder.process.pid for encoder in pool.encoders]
        assert len(pids) == 2
        assert all(is_gone(pid) for pid in pids)


def test_a_killed_process_raises_encoder_died(files):
    with (
        LocalFile(files[0]) as source,
        LocalFile(files[1]) as target,
        EncoderPool(source, target, 2) as pool,
    ):
        pool.start()
        made = pool.encode(blocks(1000), {}, reversible=False)
        assert pool.encoders[0].pipe.poll(60), "the encoder process did not become ready"
        next(made)
        os.kill(pool.encoders[0].process.pid, signal.SIGKILL)
        with pytest.raises(EncoderDied, match="status -9"):
            list(made)


def test_a_read_error_in_a_process_is_raised_in_the_parent(files, tmp_path):
    path = tmp_path / "short"
    path.write_bytes(bytes(20 * BLOCK))
    with LocalFile(files[0]) as source, LocalFile(path) as target, EncoderPool(source, target, 2) as pool:
        pool.start()
        os.truncate(path, BLOCK)
        with pytest.raises(EOFError):
            list(pool.encode(blocks(20), {}, reversible=False))


def test_encoder_processes_end_when_their_parent_is_killed(files):
    command = [sys.executable, "-c", BUILDER, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        pids = list(map(int, builder.stdout.readline().split()))
        builder.kill()
    assert len(pids) == 2
    wait_until(lambda: all(is_gone(pid) for pid in pids), "the encoder processes to end")


def test_a_daemonic_worker_process_builds_on_several_cores(files):
    out = io.BytesIO()
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        built = build_patch(source, target, out, threads=1)
    command = [sys.executable, "-c", TASK, *map(str, files)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert isinstance(built, BuiltPatch)
    assert answer.stdout.strip() == built.patch_sha256.hex()


@pytest.mark.parametrize("program", ["/nowhere/python", shutil.which("false")])
def test_one_process_does_the_work_if_no_other_can_be_started(files, program, monkeypatch):
    monkeypatch.setattr(sys, "executable", program)
    with (
        LocalFile(files[0]) as source,
        LocalFile(files[1]) as target,
        EncoderPool(source, target, 3) as pool,
    ):
        pool.start()
        assert len(list(pool.encode(blocks(300), {}, reversible=False))) == 300
        assert pool.encoders == []
