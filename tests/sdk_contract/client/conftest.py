"""A server, a device, and weights that a patch pays for."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdk_contract.client import Agent, AgentSettings
from sdk_contract.client.host.conditions import StaticHost
from sdk_contract.client.lifecycle.activation import TrialPolicy
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.transfer.range_download import DownloadLimits
from tests.sdk_contract.client.simulator import Simulator

LONG = bool(os.environ.get("GRAYLAG_TORTURE"))
"""Every point instead of a selection: `make torture`."""
QUICK = DownloadLimits(timeout_s=5, max_tries=3, retry_delay_s=0.0, max_retry_delay_s=0.0)


def settings(files=None, host=None, limits=QUICK, strikes=2) -> AgentSettings:
    trial = TrialPolicy(max_failed_starts=strikes)
    return AgentSettings(files or LocalFileSystem(), host or StaticHost(), limits, lambda _: None, trial)


def weights(seed: int, size: int = 200_000) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def tuned(data: bytes, seed: int = 9, share: float = 0.02) -> bytes:
    """`data` after a light fine-tune: some values are one off."""
    values = np.frombuffer(data, dtype=np.uint8).copy()
    rng = np.random.default_rng(seed)
    places = rng.choice(len(values), max(1, int(len(values) * share)), replace=False)
    values[places] += 1
    return values.tobytes()


@pytest.fixture
def memory_path():
    """A folder in memory where there is one: `Disk` plays the power cuts, so real syncs only cost time."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def server():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def enroll(server, tmp_path) -> Callable[..., Agent]:
    """Enroll a device that ships with a version of the server's, or with none."""

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


def record_of(agent: Agent) -> dict:
    return json.loads((agent._store.directory / "state.json").read_bytes().rpartition(b"\n")[0])
