"""Hot swap: replaces the loaded model between two requests, with reference-counted leases.

A request keeps the model of its lease until the end; a swap only changes the model of later leases. The old model is
closed when its last lease is released, so no request sees an incomplete or closed model.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from sdk_contract.client.errors import LoadFailed, StillInUse
from sdk_contract.client.host.activator import Runtime, load, smoke_test
from sdk_contract.client.storage.store import InstalledVersion
from sdk_contract.errors import ContractError

SwapMode = Literal["side_by_side", "exclusive"]
"""`side_by_side`: the new model is loaded while the old one is still in memory. `exclusive`: wait for running requests, close the
old model, then load the new one, for devices where only one fits. An app that swaps at its next start uses
`FilesOnlyActivator` with a probation time instead."""


class NothingLoaded(ContractError):
    """No model is loaded: the device has no version yet, or none could be loaded."""

    code, number = "nothing_loaded", 4007


@dataclass(slots=True)
class _LoadedModel:
    installed: InstalledVersion
    model: object
    leases: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A model for the duration of one request.

    Attributes:
        model: the result of `Runtime.load`.
        installed: the model's version.
    """

    model: object
    installed: InstalledVersion


@dataclass(slots=True)
class HotSwap:
    """An `Activator` that keeps the model loaded, and gives out leases of it.

    Attributes:
        runtime: loads and closes models.
        mode: see `SwapMode`.
        drain_timeout_s: in the mode `exclusive`, the longest wait for running requests, seconds.
    """

    runtime: Runtime
    mode: SwapMode = "side_by_side"
    drain_timeout_s: float = 30.0
    _loaded: _LoadedModel | None = None
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _draining: bool = False

    def start(self, installed: InstalledVersion | None) -> None:
        """Load the current version at the start of the app.

        Raises:
            LoadFailed: the runtime raised an exception.
        """
        if installed is not None:
            model, _ = load(self.runtime, installed)
            self._swap(_LoadedModel(installed, model))

    @contextmanager
    def acquire(self) -> Iterator[Lease]:
        """Take a lease of the current model, which stays loaded until the `with` ends.

        Raises:
            NothingLoaded: no model is loaded.
        """
        loaded = self._acquire_lease()
        try:
            yield Lease(loaded.model, loaded.installed)
        finally:
            self._release_lease(loaded)

    def activate(self, installed: InstalledVersion) -> Mapping[str, float]:
        """See `Activator`: load, test and swap; the old model serves requests until the swap."""
        if self.mode == "exclusive":
            return self._activate_exclusively(installed)
        model, metrics = load(self.runtime, installed)
        try:
            metrics |= smoke_test(self.runtime, model)
        except BaseException:
            self.runtime.close(model)
            raise
        self._swap(_LoadedModel(installed, model))
        return metrics

    def restore(self, installed: InstalledVersion | None) -> None:
        """See `Activator`: load the version again, unless it is still loaded."""
        with self._condition:
            loaded = self._loaded
        if loaded is not None and installed is not None and loaded.installed == installed:
            return
        if installed is None:
            self._swap(None)
            self._stop_draining()
            return
        model, _ = load(self.runtime, installed)
        self._swap(_LoadedModel(installed, model))

    def unload(self) -> None:
        """See `Activator`: wait for running requests, close the model, and make new requests wait.

        Raises:
            StillInUse: running requests did not end in time; the model stays loaded.
        """
        try:
            self._drain()
        except LoadFailed as error:
            raise StillInUse(error.detail) from error
        self._swap(None)

    def close(self) -> None:
        """Close the model once its last lease is released."""
        self._swap(None)

    def _activate_exclusively(self, installed: InstalledVersion) -> Mapping[str, float]:
        """Close the old model before the new one is loaded; on an error, load the old one again."""
        old = self._drain()
        self._swap(None)
        try:
            model, metrics = load(self.runtime, installed)
            try:
                metrics |= smoke_test(self.runtime, model)
            except BaseException:
                self.runtime.close(model)
                raise
        except BaseException:
            self.restore(old.installed if old else None)
            raise
        self._swap(_LoadedModel(installed, model))
        return metrics

    def _drain(self) -> _LoadedModel | None:
        """Make new requests wait, and return once the running requests have ended.

        Raises:
            LoadFailed: they did not end in time.
        """
        with self._condition:
            self._draining = True
            old = self._loaded
            if self._condition.wait_for(lambda: old is None or old.leases == 0, self.drain_timeout_s):
                return old
        self._stop_draining()
        raise LoadFailed(f"requests on the old version did not end within {self.drain_timeout_s:g} s")

    def _stop_draining(self) -> None:
        with self._condition:
            self._draining = False
            self._condition.notify_all()

    def _acquire_lease(self) -> _LoadedModel:
        with self._condition:
            self._condition.wait_for(lambda: not self._draining, self.drain_timeout_s * 4)
            if self._loaded is None:
                raise NothingLoaded
            self._loaded.leases += 1
            return self._loaded

    def _release_lease(self, loaded: _LoadedModel) -> None:
        with self._condition:
            loaded.leases -= 1
            is_last = loaded.retired and loaded.leases == 0
            self._condition.notify_all()
        if is_last:
            self.runtime.close(loaded.model)

    def _swap(self, new: _LoadedModel | None) -> None:
        with self._condition:
            if new is not None:
                self._draining = False
                self._condition.notify_all()
            old, self._loaded = self._loaded, new
            if old is not None:
                old.retired = True
            is_unused = old is not None and old.leases == 0
        if old is not None and is_unused:
            self.runtime.close(old.model)
