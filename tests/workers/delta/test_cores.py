"""Blocks on several cores: the same bytes, no process left behind, and a death that has a name."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from workers.delta.align import Piece
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.coded import Coded
from workers.delta.cores import Cores, EncoderDied
from workers.delta.encode import encode_block
from workers.delta.lanes import BYTES
from workers.delta.ranges import LocalFile

BLOCK = 64 << 10
LARGE = 80 << 20
# A build that says where its processes are, and waits in the middle.
BUILDER = """
import sys, time
from pathlib import Path
from workers.delta.cores import Cores
from workers.delta.ranges import LocalFile
old, new = map(Path, sys.argv[1:])
with LocalFile(old) as source, LocalFile(new) as target, Cores(source, target, 3) as cores:
    cores.start()
    print(*(encoder.process.pid for encoder in cores.encoders), flush=True)
    time.sleep(60)
"""

# As a task of Celery's runs: in a daemonic process, which may not have children of `multiprocessing`.
TASK = """
import io, multiprocessing, sys
from pathlib import Path
from workers.delta.build import BuiltPatch, build_patch
from workers.delta.ranges import LocalFile
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
    """Two files of 80 MiB, of which an eighth is the same and a tenth of the rest differs by one: enough work for processes."""
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
    """Whether a process has ended; one that nobody has asked after yet counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_blocks_come_in_order_and_as_they_are_made_in_one_process(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        expected = [encode_block(pieces, source, target) for pieces in blocks(40)]
        with Cores(source, target, 3) as cores:
            cores.start()
            made = list(cores.encode(blocks(40), {}, reversible=False))
    assert [bytes(block.target) for block in made] == [bytes(block.target) for block in expected]
    assert [block.payload for block in made] == [block.payload for block in expected]
    assert [block.pieces for block in made] == [block.pieces for block in expected]


def test_what_was_encoded_before_is_not_encoded_again(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        expected = [encode_block(pieces, source, target) for pieces in blocks(40)]
        known = {
            at: Coded.of(expected[at])._replace(payload=bytes((at,))) for at in (0, 1, 7, 20, 21, 22, 39)
        }
        for count in (1, 3):
            with Cores(source, target, count) as cores:
                cores.start()
                made = list(cores.encode(blocks(40), known, reversible=False))
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


def test_the_files_that_were_opened_are_read_whatever_their_names_mean_later(files, tmp_path):
    path = tmp_path / "new"
    path.write_bytes(files[1].read_bytes()[: 20 * BLOCK])
    with LocalFile(files[0]) as source, LocalFile(path) as target:
        path.unlink()
        path.write_bytes(bytes(20 * BLOCK))
        expected = [encode_block(pieces, source, target).payload for pieces in blocks(20)]
        with Cores(source, target, 2) as cores:
            cores.start()
            made = [block.payload for block in cores.encode(blocks(20), {}, reversible=False)]
    assert made == expected


def test_every_process_has_ended_when_the_work_is_done(files):
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        with Cores(source, target, 3) as cores:
            cores.start()
            list(cores.encode(blocks(8), {}, reversible=False))
            pids = [encoder.process.pid for encoder in cores.encoders]
        assert len(pids) == 2
        assert all(is_gone(pid) for pid in pids)


def test_a_process_that_is_killed_is_a_named_error(files):
    with (
        LocalFile(files[0]) as source,
        LocalFile(files[1]) as target,
        Cores(source, target, 2) as cores,
    ):
        cores.start()
        made = cores.encode(blocks(1000), {}, reversible=False)
        assert cores.encoders[0].pipe.poll(60), "it does not say that it is there"
        next(made)
        os.kill(cores.encoders[0].process.pid, signal.SIGKILL)
        with pytest.raises(EncoderDied, match="status -9"):
            list(made)


def test_what_a_process_cannot_read_is_the_same_error_as_here(files, tmp_path):
    path = tmp_path / "short"
    path.write_bytes(bytes(20 * BLOCK))
    with LocalFile(files[0]) as source, LocalFile(path) as target, Cores(source, target, 2) as cores:
        cores.start()
        os.truncate(path, BLOCK)
        with pytest.raises(EOFError):
            list(cores.encode(blocks(20), {}, reversible=False))


def test_a_parent_that_is_killed_leaves_no_process_behind(files):
    command = [sys.executable, "-c", BUILDER, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        pids = list(map(int, builder.stdout.readline().split()))
        builder.kill()
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_task_of_a_daemonic_worker_builds_on_several_cores_too(files):
    out = io.BytesIO()
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target:
        built = build_patch(source, target, out, threads=1)
    command = [sys.executable, "-c", TASK, *map(str, files)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert isinstance(built, BuiltPatch)
    assert answer.stdout.strip() == built.patch_sha256.hex()


@pytest.mark.parametrize("program", ["/nowhere/python", shutil.which("false")])
def test_where_no_process_can_be_started_or_lives_one_does_the_work(files, program, monkeypatch):
    monkeypatch.setattr(sys, "executable", program)
    with LocalFile(files[0]) as source, LocalFile(files[1]) as target, Cores(source, target, 3) as cores:
        cores.start()
        assert len(list(cores.encode(blocks(300), {}, reversible=False))) == 300
        assert cores.encoders == []
