"""A release reaches a device as a patch, in little memory on both sides.

`make test` uses a small generated pair of files, `make bench-release` a real pair, repeated up to gigabytes.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.journeys.conftest import Up
from tests.waiting import wait_until
from workers.delta.benchmark.synthetic_files import write_repeated

WORKER_MB, AGENT_MB = 400, 96
"""Memory limits of a patch build and of a device, independent of the file size, MB."""
IDLE_MB = 32
"""Memory of an idle Python interpreter, MB."""


class PeakMemory:
    """Peak memory of a group of processes, MB: of the largest one, and of all together."""

    def __init__(self) -> None:
        self.largest = self.together = 0.0

    def sample(self, processes: list[psutil.Process]) -> None:
        """Take a sample; `together` counts shared pages once."""
        largest = together = 0.0
        for process in processes:
            try:
                memory = process.memory_full_info()
            except psutil.Error:
                continue
            largest, together = max(largest, memory.rss / 1e6), together + memory.pss / 1e6
        self.largest, self.together = max(self.largest, largest), max(self.together, together)


@pytest.fixture(scope="module")
def pair(shared_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Two versions of a model's weights."""
    paths = shared_dir / "v1.safetensors", shared_dir / "v2.safetensors"
    given = os.environ.get("GRAYLAG_RELEASE_PAIR")
    if given:
        for source, path in zip(given.split(","), paths, strict=True):
            write_repeated(Path(source), int(os.environ.get("GRAYLAG_RELEASE_REPEAT", "1")), path)
    else:
        rng = np.random.default_rng(7)
        codes = rng.integers(-90, 90, (3000, 4000)).astype(np.int8)
        _save(paths[0], codes)
        _save(paths[1], codes + (rng.random(codes.shape) < 0.1).astype(np.int8))
    yield paths
    for path in paths:
        path.unlink()


def test_a_release_reaches_a_device_as_a_patch_in_little_memory(up: Up, pair, shared_dir, capsys):
    device = shared_dir / "by-patch"
    figures: dict[str, float] = {"bytes": pair[1].stat().st_size}
    _publish(up, "v1", pair[0])
    _release(up, "v1")
    up.enroll_device(device, "by-patch", "--model", "patched")
    wait_until(lambda: _update(up, device)["version"] == "v1", "the first version")

    with _peak_memory_of("ingest,delta") as worker:
        started = time.monotonic()
        _publish(up, "v2", pair[1])
        figures["publish_s"] = time.monotonic() - started
        _release(up, "v2")
        patch = wait_until(lambda: _ready_patch(up, "v2"), "the patch")
        figures["patch_s"] = time.monotonic() - started - figures["publish_s"]

    with _peak_memory_of(str(device)) as agent:
        started = time.monotonic()
        result = wait_until(lambda: (one := _update(up, device))["version"] == "v2" and one, "the patch")
        figures["update_s"] = time.monotonic() - started

    figures |= {"patch_bytes": patch["size"], "worker_mb": worker.largest, "workers_mb": worker.together}
    figures |= {"agent_mb": agent.largest}
    with capsys.disabled():
        if "GRAYLAG_RELEASE_PAIR" in os.environ:
            sys.stdout.write(json.dumps({name: round(figure, 1) for name, figure in figures.items()}) + "\n")
    assert (result["download_format"], result["bytes_wasted"]) == ("glp1", 0)
    assert result["bytes_downloaded"] <= patch["size"] < figures["bytes"]
    assert 0 < worker.largest < WORKER_MB
    assert 0 < agent.largest < AGENT_MB + IDLE_MB


def _save(path: Path, codes: np.ndarray) -> None:
    raw = codes.tobytes()
    header = {"layer.weight": {"dtype": "I8", "shape": list(codes.shape), "data_offsets": [0, len(raw)]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw)


def _publish(up: Up, label: str, weights: Path) -> None:
    done = up.run("graylag", "publish", "patched", label, "--component", f"weights={weights}", "--json")
    assert done.returncode == 0, done.stderr


def _release(up: Up, label: str) -> None:
    up.api.call("PUT", "/v1/admin/cohorts/patched", {"rule": {}})
    stages = [{"cohort": "patched", "percent": 100, "advance_when": {"reports": 0}}]
    name = f"patched-{label}"
    up.api.call(
        "POST",
        "/v1/admin/rollouts",
        {"name": name, "model": "patched", "version": label, "stages": stages},
    )
    up.api.call("POST", f"/v1/admin/rollouts/{name}/start", {})


def _update(up: Up, device: Path) -> Any:
    return json.loads(up.run("graylag-agent", "update", "--dir", device, "--json").stdout)


def _ready_patch(up: Up, label: str) -> dict[str, Any] | None:
    found = up.api.call("GET", f"/v1/admin/models/patched/versions/{label}/patches")
    return next((patch for patch in found if patch["state"] == "ready"), None)


@contextmanager
def _peak_memory_of(word: str) -> Iterator[PeakMemory]:
    """Sample the memory of our processes with this word on their command line, and of their children."""
    peak, ended = PeakMemory(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            peak.sample(_processes_with(word))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _processes_with(word: str) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if word in process.cmdline():
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
    return list(found.values())
