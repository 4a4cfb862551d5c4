"""The command `glp1-apply`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.sdk_contract.patch.c.conftest import build, safetensors

MEASURE_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


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
    """A file of six times the size needs no more memory, because the working set is that of a block."""
    peaks = []
    for size in (4_000_000, 24_000_000):
        rng = np.random.default_rng(7)
        weights = np.frombuffer(rng.bytes(size), np.uint8)
        moved = (weights + (rng.random(size, np.float32) < 0.1)).astype(np.uint8)
        old, new = (safetensors({"w": ("I8", part.tobytes())}, "") for part in (weights, moved))
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "patch").write_bytes(build(old, new)[0])
        watched = [sys.executable, "-c", MEASURE_MEMORY, str(command), "old", "patch", "new"]
        peaks.append(int(subprocess.run(watched, cwd=tmp_path, check=True, capture_output=True).stdout))
        assert (tmp_path / "new").read_bytes() == new
    assert peaks[1] < peaks[0] + 2048
