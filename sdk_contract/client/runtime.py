"""What the host brings: how a model is loaded and tried, and what the device allows right now."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sdk_contract.client.errors import LoadFailed, SmokeFailed
from sdk_contract.client.store import Installed


class Runtime(Protocol):
    """An inference runtime. Any exception of `load` or `smoke_test` rejects the version."""

    def load(self, installed: Installed) -> object:
        """Open the files; they never change under it."""

    def smoke_test(self, loaded: object) -> Mapping[str, float]:
        """Do a little real work; returns metrics, raises where the answers are wrong."""

    def close(self, loaded: object) -> None:
        """Let go of what `load` gave."""


class Activator(Protocol):
    """Brings a trial version to life, and an old one back."""

    def activate(self, installed: Installed) -> Mapping[str, float]:
        """Make `installed` the one that answers; what answered before goes on if this raises.

        Raises:
            LoadFailed: it could not be loaded; may be tried again.
            SmokeFailed: it does not do its work.
        """

    def let_go(self) -> None:
        """Close what is loaded and open nothing until `activate` or `restore`: files change in place.

        Raises:
            StillInUse: not now.
        """

    def restore(self, installed: Installed | None) -> None:
        """Make sure that `installed` is the one that answers, after a trial that failed."""


@dataclass(slots=True)
class OneShot:
    """Loads, tries and closes: for hosts that load the committed version themselves."""

    runtime: Runtime

    def activate(self, installed: Installed) -> Mapping[str, float]:
        """See `Activator`; adds `load_ms`."""
        loaded, metrics = load(self.runtime, installed)
        try:
            return metrics | smoke_test(self.runtime, loaded)
        finally:
            self.runtime.close(loaded)

    def let_go(self) -> None:
        """See `Activator`; nothing is loaded."""

    def restore(self, installed: Installed | None) -> None:
        """See `Activator`; nothing is loaded."""


class FilesOnly:
    """No runtime here: verified files are all that is asked."""

    def activate(self, installed: Installed) -> Mapping[str, float]:
        """See `Activator`; the store has checked every byte."""
        del installed
        return {}

    def let_go(self) -> None:
        """See `Activator`; nothing is loaded."""

    def restore(self, installed: Installed | None) -> None:
        """See `Activator`; nothing is loaded."""


def load(runtime: Runtime, installed: Installed) -> tuple[object, dict[str, float]]:
    """Load, and measure it.

    Raises:
        LoadFailed: the runtime raised, whatever it was.
    """
    started = time.monotonic()
    try:
        loaded = runtime.load(installed)
    except Exception as error:
        raise LoadFailed(f"{type(error).__name__}: {error}"[:500]) from error
    return loaded, {"load_ms": round((time.monotonic() - started) * 1000, 3)}


def smoke_test(runtime: Runtime, loaded: object) -> dict[str, float]:
    """Try the model.

    Raises:
        SmokeFailed: the runtime raised, whatever it was.
    """
    try:
        return {name: float(value) for name, value in runtime.smoke_test(loaded).items()}
    except Exception as error:
        raise SmokeFailed(f"{type(error).__name__}: {error}"[:500]) from error
