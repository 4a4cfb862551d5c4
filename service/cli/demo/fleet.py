"""Simulated devices: each with its own directory, key and model, all running the reference client."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdk_contract.client import Agent, Installed, Outcome
from service.cli.demo.classifier import Classifier, Task

THREADS = 8
REGIONS = ("cn-east", "cn-north", "eu-west", "us-east")
WEIGHTS = "classifier"
PROBE = 64
"""Inputs of one device's smoke test and accuracy check."""


@dataclass(frozen=True, slots=True)
class NumpyRuntime:
    """Runs the classifier; the smoke test is a real look at real inputs."""

    task: Task
    seed: int

    def load(self, installed: Installed) -> object:
        """Map the weights."""
        return Classifier.load(installed.components[WEIGHTS])

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """Accuracy on inputs of this device's own; a model that is no better than chance is refused.

        Raises:
            ValueError: it is not.
        """
        if not isinstance(loaded, Classifier):
            raise TypeError(loaded)
        quality = loaded.accuracy(self.task, self.seed, PROBE)
        if quality < 0.25:
            raise ValueError(f"accuracy {quality:.2f}")
        return {"quality": quality}

    def close(self, loaded: object) -> None:
        """The mapping goes with the last reference."""


@dataclass(slots=True)
class Device:
    """One device and what is known of it from the outside."""

    id: str
    attributes: dict[str, str]
    directory: Path
    runtime: NumpyRuntime
    agent: Agent | None = None
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0
    sent_bytes: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    def opened(self) -> Agent:
        """The client in this device's directory."""
        if self.agent is None:
            self.agent = Agent(self.directory)
        return self.agent

    def version(self) -> str | None:
        """What it runs."""
        installed = self.opened().installed()
        return installed.version if installed else None

    def runs(self, digests: Mapping[str, str]) -> bool:
        """Whether the files of what it runs are, byte for byte, those of a version: component -> sha256."""
        installed = self.opened().installed()
        if installed is None or installed.components.keys() != digests.keys():
            return False
        return all(
            hashlib.sha256(path.read_bytes()).hexdigest() == digests[name]
            for name, path in installed.components.items()
        )

    def accuracy(self) -> float:
        """Of what it runs, on its own inputs."""
        installed = self.opened().installed()
        if installed is None:
            return 0.0
        return self.runtime.smoke_test(self.runtime.load(installed))["quality"]


@dataclass(frozen=True, slots=True)
class Server:
    """What a device needs to enrol."""

    url: str
    enrolment_token: str
    trust: bytes
    model: str


def make_fleet(directory: Path, count: int, task: Task) -> list[Device]:
    """Devices with different regions, groups and app versions; the same every time."""
    rng = np.random.default_rng(42)
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


def enrol_all(devices: Sequence[Device], server: Server, factory: Path, advance: Callable[[], None]) -> None:
    """Every device enrols with version 1 built in, and runs it."""

    def enrol(device: Device) -> None:
        device.agent = Agent.enroll(
            device.directory,
            server.url,
            server.enrolment_token,
            server.trust,
            device_id=device.id,
            model=server.model,
            attributes=device.attributes,
            factory=factory,
        )
        device.accuracy_before = device.accuracy()
        advance()

    _each(enrol, devices)


def poll_all(devices: Sequence[Device]) -> None:
    """Every device polls once and does all that follows from it."""

    def poll(device: Device) -> None:
        outcome = device.opened().update(device.runtime)
        device.sent_bytes += outcome.bytes_downloaded
        device.outcomes.append(outcome)

    _each(poll, devices)


def _each(action: Callable[[Device], None], devices: Sequence[Device]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(action, devices):
            pass
