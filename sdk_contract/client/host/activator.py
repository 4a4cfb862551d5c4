"""Activators load, test and replace model versions; a runtime does this for one inference engine."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sdk_contract.client.errors import LoadFailed, SmokeFailed
from sdk_contract.client.storage.store import InstalledVersion


class Runtime(Protocol):
    """An inference runtime. Any exception of `load` or `smoke_test` rejects the version."""

    def load(self, installed: InstalledVersion) -> object:
        """Load the model from its files, which never change while they are in use."""

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """Run the model on a small task and return metrics; raise an exception if its output is wrong."""

    def close(self, loaded: object) -> None:
        """Free the result of `load`."""


class Activator(Protocol):
    """Activates a new version, and restores an old one."""

    def activate(self, installed: InstalledVersion) -> Mapping[str, float]:
        """Load and test a version, and serve it from then on. If this raises, the old version stays in service.

        Returns:
            Metrics of the load and the smoke test.

        Raises:
            LoadFailed: the version could not be loaded; another try may succeed.
            SmokeFailed: the smoke test failed.
        """

    def unload(self) -> None:
        """Close all model files, and open none until `activate` or `restore`, because they change in place.

        Raises:
            StillInUse: the files are in use.
        """

    def restore(self, installed: InstalledVersion | None) -> None:
        """Serve a version again after a failed trial."""


@dataclass(slots=True)
class OneShotActivator:
    """Loads, tests and closes a version, for apps that load the committed version themselves."""

    runtime: Runtime

    def activate(self, installed: InstalledVersion) -> Mapping[str, float]:
        """See `Activator`; adds `load_ms`."""
        loaded, metrics = load(self.runtime, installed)
        try:
            return metrics | smoke_test(self.runtime, loaded)
        finally:
            self.runtime.close(loaded)

    def unload(self) -> None:
        """See `Activator`; nothing is loaded."""

    def restore(self, installed: InstalledVersion | None) -> None:
        """See `Activator`; nothing is loaded."""


class FilesOnlyActivator:
    """Accepts every version whose files are verified, without loading it."""

    def activate(self, installed: InstalledVersion) -> Mapping[str, float]:
        """See `Activator`; the files are verified already."""
        del installed
        return {}

    def unload(self) -> None:
        """See `Activator`; nothing is loaded."""

    def restore(self, installed: InstalledVersion | None) -> None:
        """See `Activator`; nothing is loaded."""


def load(runtime: Runtime, installed: InstalledVersion) -> tuple[object, dict[str, float]]:
    """Load a model, and measure the time.

    Raises:
        LoadFailed: the runtime raised any exception.
    """
    started = time.monotonic()
    try:
        loaded = runtime.load(installed)
    except Exception as error:
        raise LoadFailed(f"{type(error).__name__}: {error}"[:500]) from error
    return loaded, {"load_ms": round((time.monotonic() - started) * 1000, 3)}


def smoke_test(runtime: Runtime, loaded: object) -> dict[str, float]:
    """Run the runtime's smoke test.

    Raises:
        SmokeFailed: the runtime raised any exception.
    """
    try:
        return {name: float(value) for name, value in runtime.smoke_test(loaded).items()}
    except Exception as error:
        raise SmokeFailed(f"{type(error).__name__}: {error}"[:500]) from error
