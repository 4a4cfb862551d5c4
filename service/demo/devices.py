"""Simulated devices: each runs the reference client, with its own directory, key and model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdk_contract.client import Agent, InstalledVersion, UpdateResult
from service.demo.classifier import Classifier, Task
from service.testbed.devices import REGIONS

THREADS = 8
WEIGHTS = "classifier"
"""Name of the component with the weights."""
PROBE_INPUTS = 64
"""Inputs of a device's smoke test and of its accuracy check."""
MIN_ACCURACY = 0.25
"""The smoke test fails below this; chance is 1 in 16."""
SEED = 42


@dataclass(frozen=True, slots=True)
class NumpyRuntime:
    """Runs the classifier; the smoke test measures its accuracy on this device's own inputs."""

    task: Task
    seed: int

    def load(self, installed: InstalledVersion) -> object:
        """Map the weights into memory."""
        return Classifier.load(installed.components[WEIGHTS])

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """The metric `quality`: accuracy from 0 to 1.

        Raises:
            ValueError: the accuracy is below `MIN_ACCURACY`.
        """
        if not isinstance(loaded, Classifier):
            raise TypeError(loaded)
        quality = loaded.accuracy(self.task, self.seed, PROBE_INPUTS)
        if quality < MIN_ACCURACY:
            raise ValueError(f"accuracy {quality:.2f} is below {MIN_ACCURACY}")
        return {"quality": quality}

    def close(self, loaded: object) -> None:
        """Do nothing: the mapping is closed with its last reference."""


@dataclass(slots=True)
class Device:
    """A device and what the demo records about it.

    Attributes:
        accuracy_before: accuracy of the version that it ran first, 0 to 1.
        accuracy_after: accuracy of the version that it runs at the end, 0 to 1.
        downloaded_bytes: sum over all updates.
        results: one per poll.
    """

    id: str
    attributes: dict[str, str]
    directory: Path
    runtime: NumpyRuntime
    agent: Agent | None = None
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0
    downloaded_bytes: int = 0
    results: list[UpdateResult] = field(default_factory=list)

    def open_agent(self) -> Agent:
        """The client that runs in this device's directory."""
        if self.agent is None:
            self.agent = Agent(self.directory)
        return self.agent

    def version(self) -> str | None:
        """The version that it runs."""
        installed = self.open_agent().installed()
        return installed.version if installed else None

    def has_files(self, digests: Mapping[str, str]) -> bool:
        """Whether the installed files have exactly these digests: component -> sha256."""
        installed = self.open_agent().installed()
        if installed is None or installed.components.keys() != digests.keys():
            return False
        return all(
            hashlib.sha256(path.read_bytes()).hexdigest() == digests[name]
            for name, path in installed.components.items()
        )

    def accuracy(self) -> float:
        """Accuracy of the installed version on this device's own inputs, 0 to 1."""
        installed = self.open_agent().installed()
        if installed is None:
            return 0.0
        return self.runtime.smoke_test(self.runtime.load(installed))["quality"]


@dataclass(frozen=True, slots=True)
class Server:
    """What a device needs to enroll."""

    url: str
    enrollment_token: str
    trust: bytes
    model: str


def create_devices(directory: Path, count: int, task: Task) -> list[Device]:
    """Devices with different regions, user groups and app versions; the same in every run."""
    rng = np.random.default_rng(SEED)
    return [
        Device(
            id=f"dev_{index:05d}",
            attributes={
                "region": str(rng.choice(REGIONS)),
                "user_group": "internal" if index % 20 == 0 else "public",
                "app_version": "4.9.0" if index % 25 == 7 else "5.2.1",
            },
            directory=directory / f"dev_{index:05d}",
            runtime=NumpyRuntime(task, 1000 + index),
        )
        for index in range(count)
    ]


def enroll_all(devices: Sequence[Device], server: Server, factory: Path, advance: Callable[[], None]) -> None:
    """Enroll all devices with the version in `factory` built in; call `advance` after each one."""

    def enroll(device: Device) -> None:
        device.agent = Agent.enroll(
            device.directory,
            server.url,
            server.enrollment_token,
            server.trust,
            device_id=device.id,
            model=server.model,
            attributes=device.attributes,
            factory=factory,
        )
        device.accuracy_before = device.accuracy()
        advance()

    _run_concurrently(enroll, devices)


def poll_all(devices: Sequence[Device]) -> None:
    """Let every device poll once, and install what it is offered."""

    def poll(device: Device) -> None:
        result = device.open_agent().update(device.runtime)
        device.downloaded_bytes += result.bytes_downloaded
        device.results.append(result)

    _run_concurrently(poll, devices)


def _run_concurrently(action: Callable[[Device], None], devices: Sequence[Device]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(action, devices):
            pass
