"""A model goes from CI's disk to a device's, over the object store, as a patch: what it takes, at any size.

With a pair of its own in `make test`; with a real one, tiled to gigabytes, in `make bench-release`.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.journeys.conftest import Up, wait_until
from workers.delta.tiles import tile

WORKER_MB, AGENT_MB = 400, 96
"""What a build and a device may take in memory, whatever the file's size."""
IDLE_MB = 32
"""What an interpreter takes that does nothing."""


class Peak:
    """The most memory that a kind of process has held, MB: the largest of them, and all of them together."""

    def __init__(self) -> None:
        self.largest = self.together = 0.0

    def look(self, processes: list[psutil.Process]) -> None:
        """Take a sample; pages that processes share count once."""
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
    made = shared_dir / "v1.safetensors", shared_dir / "v2.safetensors"
    given = os.environ.get("GRAYLAG_RELEASE_PAIR")
    if given:
        for source, path in zip(given.split(","), made, strict=True):
            tile(Path(source), int(os.environ.get("GRAYLAG_RELEASE_TILES", "1")), path)
    else:
        rng = np.random.default_rng(7)
        codes = rng.integers(-90, 90, (3000, 4000)).astype(np.int8)
        _save(made[0], codes)
        _save(made[1], codes + (rng.random(codes.shape) < 0.1).astype(np.int8))
    yield made
    for path in made:
        path.unlink()


def test_a_release_reaches_a_device_as_a_patch_in_little_memory(up: Up, pair, shared_dir, capsys):
    device = shared_dir / "by-patch"
    figures: dict[str, float] = {"bytes": pair[1].stat().st_size}
    _publish(up, "v1", pair[0])
    _release(up, "v1")
    _enroll(up, device)
    wait_until(lambda: _update(up, device)["version"] == "v1", "the first version")

    with _peak_of("ingest,delta") as worker:
        began = time.monotonic()
        _publish(up, "v2", pair[1])
        figures["publish_s"] = time.monotonic() - began
        _release(up, "v2")
        patch = wait_until(lambda: _ready_patch(up, "v2"), "the patch")
        figures["patch_s"] = time.monotonic() - began - figures["publish_s"]

    with _peak_of(str(device)) as agent:
        began = time.monotonic()
        told = wait_until(lambda: (said := _update(up, device))["version"] == "v2" and said, "the patch")
        figures["update_s"] = time.monotonic() - began

    figures |= {"patch_bytes": patch["size"], "worker_mb": worker.largest, "workers_mb": worker.together}
    figures |= {"agent_mb": agent.largest}
    with capsys.disabled():
        if "GRAYLAG_RELEASE_PAIR" in os.environ:
            sys.stdout.write(json.dumps({name: round(figure, 1) for name, figure in figures.items()}) + "\n")
    assert (told["way"], told["bytes_wasted"]) == ("glp1", 0)
    assert told["bytes_downloaded"] <= patch["size"] < figures["bytes"]
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
    stages = [{"cohort": "patched", "percent": 100, "hold": {"reports": 0}}]
    name = f"patched-{label}"
    up.api.call(
        "POST",
        "/v1/admin/rollouts",
        {"name": name, "model": "patched", "version": label, "stages": stages},
    )
    up.api.call("POST", f"/v1/admin/rollouts/{name}/start", {})


def _enroll(up: Up, device: Path) -> None:
    server = ("--server", up.facts["api_url"], "--trust", up.facts["trust_bundle"])
    named = ("--device-id", "by-patch", "--model", "patched", "--token", up.facts["enrolment_token"])
    done = up.run("graylag-agent", "enroll", "--dir", device, *server, *named)
    assert done.returncode == 0, done.stderr


def _update(up: Up, device: Path) -> dict:
    return json.loads(up.run("graylag-agent", "update", "--dir", device, "--json").stdout)


def _ready_patch(up: Up, label: str) -> dict | None:
    found = up.api.call("GET", f"/v1/admin/models/patched/versions/{label}/patches")
    return next((patch for patch in found if patch["state"] == "ready"), None)


@contextmanager
def _peak_of(word: str) -> Iterator[Peak]:
    """Watch the memory of all processes of ours with that word on their command line, and of their children."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            peak.look(_with_word(word))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _with_word(word: str) -> list[psutil.Process]:
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if word in process.cmdline():
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
    return list(found.values())
