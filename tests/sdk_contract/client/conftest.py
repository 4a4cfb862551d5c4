"""Fixtures: a simulated server, an enrolled device, and weights for which a patch is small."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk_contract.client import Agent, AgentSettings
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.transfer.range_download import DownloadLimits
from tests.sdk_contract.client.simulator import ServerSimulator

TORTURE = bool(os.environ.get("GRAYLAG_TORTURE"))
"""Whether to test every fault point instead of a selection: `make torture`."""
QUICK = DownloadLimits(timeout_s=5, max_tries=3, retry_delay_s=0.0, max_retry_delay_s=0.0)


def settings(files=None, host=None, limits=QUICK, max_failed_starts=2) -> AgentSettings:
    trial = TrialPolicy(max_failed_starts=max_failed_starts)
    return AgentSettings(files or LocalFileSystem(), host or StaticHost(), limits, lambda _: None, trial)


def weights(seed: int, size: int = 200_000) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def fine_tuned(data: bytes, seed: int = 9, share: float = 0.02) -> bytes:
    """Weights after a small fine-tune: some values change by one."""
    values = np.frombuffer(data, dtype=np.uint8).copy()
    rng = np.random.default_rng(seed)
    places = rng.choice(len(values), max(1, int(len(values) * share)), replace=False)
    values[places] += 1
    return values.tobytes()


@pytest.fixture
def memory_path():
    """A directory in memory if possible, because `FaultyDisk` simulates power cuts and real syncs only cost time."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def server():
    with ServerSimulator() as simulator:
        yield simulator


@pytest.fixture
def enroll(server, tmp_path) -> Callable[..., Agent]:
    """Enroll a device, with one of the server's versions as its factory version or without one."""

    def make(shipped: str | None = None, *, name: str = "device", **options) -> Agent:
        factory = None
        if shipped is not None:
            factory = tmp_path / f"factory-{name}"
            factory.mkdir()
            version = server.versions[shipped]
            (factory / "manifest.json").write_bytes(version.envelope)
            for part, data in version.files.items():
                (factory / f"{part}.bin").write_bytes(data)
        options.setdefault("settings", settings())
        return Agent.enroll(
            tmp_path / name,
            server.base,
            options.pop("token", "let-me-in"),
            server.trust_chain[0],
            device_id=name,
            factory=factory,
            **options,
        )

    return make


def content(agent: Agent) -> dict[str, bytes]:
    installed = agent.installed()
    return (
        {} if installed is None else {name: path.read_bytes() for name, path in installed.components.items()}
    )


def record_of(agent: Agent) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(
        (agent._store.directory / "state.json").read_bytes().rpartition(b"\n")[0]
    )
    return record
