"""Models that change under load: counted leases on immutable versions, switched between two requests.

A request works on the lease it took; a switch changes what the *next* lease gets. The old version is closed by
whoever gives its last lease back, so no request ever sees a model that is half there or already gone.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from sdk_contract.client.errors import LoadFailed, StillInUse
from sdk_contract.client.runtime import Runtime, load, smoke_test
from sdk_contract.client.store import Installed
from sdk_contract.errors import ContractError

SwapMode = Literal["beside", "exclusive"]
"""`beside`: old and new are in memory together for a moment. `exclusive`: drain, close, load; for models of
which only one fits. A host that prefers the next start uses `FilesOnly` with a probation time."""


class NothingLoaded(ContractError):
    """There is no version on this device yet, or none could be loaded."""

    code, number = "nothing_loaded", 4007


@dataclass(slots=True)
class _Live:
    installed: Installed
    model: object
    leases: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A model for the time of one piece of work.

    Attributes:
        model: what `Runtime.load` gave.
        installed: the version it is of.
    """

    model: object
    installed: Installed


@dataclass(slots=True)
class HotSwap:
    """`Activator` that keeps the model loaded, and hands out leases on it.

    Attributes:
        runtime: loads and closes.
        mode: see `SwapMode`.
        drain_s: with `exclusive`, how long running work may take to end before the swap is given up.
    """

    runtime: Runtime
    mode: SwapMode = "beside"
    drain_s: float = 30.0
    _live: _Live | None = None
    _gate: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def start(self, installed: Installed | None) -> None:
        """Load what the device runs, at the start of the host.

        Raises:
            LoadFailed: the runtime raised.
        """
        if installed is not None:
            model, _ = load(self.runtime, installed)
            self._switch(_Live(installed, model))

    @contextmanager
    def acquire(self) -> Iterator[Lease]:
        """The model that answers now; it stays loaded and unchanged until the `with` ends.

        Raises:
            NothingLoaded: there is none.
        """
        live = self._take()
        try:
            yield Lease(live.model, live.installed)
        finally:
            self._give_back(live)

    def activate(self, installed: Installed) -> Mapping[str, float]:
        """See `runtime.Activator`: load, try, switch; the old version answers until the switch."""
        if self.mode == "exclusive":
            return self._replace(installed)
        model, metrics = load(self.runtime, installed)
        try:
            metrics |= smoke_test(self.runtime, model)
        except BaseException:
            self.runtime.close(model)
            raise
        self._switch(_Live(installed, model))
        return metrics

    def restore(self, installed: Installed | None) -> None:
        """See `runtime.Activator`: the old version answers again, unless it still does."""
        with self._gate:
            live = self._live
        if live is not None and installed is not None and live.installed == installed:
            return
        if installed is None:
            self._switch(None)
            self._open()
            return
        model, _ = load(self.runtime, installed)
        self._switch(_Live(installed, model))

    def let_go(self) -> None:
        """See `runtime.Activator`: wait for running work, close, and keep new work waiting.

        Raises:
            StillInUse: work did not end in time; the model stays.
        """
        try:
            self._drain()
        except LoadFailed as error:
            raise StillInUse(error.detail) from error
        self._switch(None)

    def close(self) -> None:
        """Let go of the model once its last lease is back."""
        self._switch(None)

    def _replace(self, installed: Installed) -> Mapping[str, float]:
        """Only one fits: nobody may work on the old one while the new one loads."""
        old = self._drain()
        self._switch(None)
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
        self._switch(_Live(installed, model))
        return metrics

    def _drain(self) -> _Live | None:
        """Keep new work waiting, and return once running work has ended."""
        with self._gate:
            self._closed = True
            old = self._live
            if self._gate.wait_for(lambda: old is None or old.leases == 0, self.drain_s):
                return old
        self._open()
        raise LoadFailed(f"work on the old version did not end within {self.drain_s:g} s")

    def _open(self) -> None:
        with self._gate:
            self._closed = False
            self._gate.notify_all()

    def _take(self) -> _Live:
        with self._gate:
            self._gate.wait_for(lambda: not self._closed, self.drain_s * 4)
            if self._live is None:
                raise NothingLoaded
            self._live.leases += 1
            return self._live

    def _give_back(self, live: _Live) -> None:
        with self._gate:
            live.leases -= 1
            last = live.retired and live.leases == 0
            self._gate.notify_all()
        if last:
            self.runtime.close(live.model)

    def _switch(self, fresh: _Live | None) -> None:
        with self._gate:
            if fresh is not None:
                self._closed = False
                self._gate.notify_all()
            old, self._live = self._live, fresh
            if old is not None:
                old.retired = True
            idle = old is not None and old.leases == 0
        if old is not None and idle:
            self.runtime.close(old.model)
