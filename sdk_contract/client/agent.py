"""The device client as a host sees it: enrol once, update now and then, report what the model does."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdk_contract.client import reports
from sdk_contract.client.activation import Activation, Trial
from sdk_contract.client.api import DeviceApi
from sdk_contract.client.asking import Asker
from sdk_contract.client.factory import install_shipped
from sdk_contract.client.fetch import Limits
from sdk_contract.client.files import DiskFiles, Files
from sdk_contract.client.gather import Gather
from sdk_contract.client.host import Host, PlainHost
from sdk_contract.client.identity import Configuration, DeviceKey
from sdk_contract.client.modules import keep_only
from sdk_contract.client.outcome import Outcome
from sdk_contract.client.record import Record
from sdk_contract.client.runtime import Activator, FilesOnly, OneShot, Runtime
from sdk_contract.client.states import State
from sdk_contract.client.steps import Steps
from sdk_contract.client.store import Installed, Store
from sdk_contract.client.trust import TrustStore
from sdk_contract.client.update import Update
from sdk_contract.wire import AttributeValue, Event

SOON_S = 90.0
"""How long a start waits for a poll that is under way in another process; a download does not hold it up."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a host may choose; the defaults suit a Linux machine.

    Attributes:
        files: the disk.
        host: the platform.
        limits: how patient downloads are.
        pause: waits, seconds.
        trial: how a new version proves itself.
        low_storage: patch components inside their own files; the model cannot run meanwhile.
    """

    files: Files
    host: Host
    limits: Limits
    pause: Callable[[float], None] = time.sleep
    trial: Trial = field(default_factory=Trial)
    low_storage: bool = False


class Agent:
    """One device in one directory. Holds no open file and no connection between calls.

    Several agents may live in one process, and several threads or processes may use one directory.
    """

    def __init__(self, directory: Path, settings: Settings | None = None) -> None:
        """Open a directory that `enroll` made.

        Raises:
            StateDamaged: nobody enrolled here, or the files are not readable.
        """
        self._settings = settings or default_settings()
        self._store = Store(directory, self._settings.files)
        self._configuration = Configuration.read(directory)
        self._trust = TrustStore(directory, self._settings.files)
        key = DeviceKey.load_or_make(directory, self._settings.files)
        self._api = DeviceApi(self._configuration, key, timeout=self._settings.limits.timeout_s)

    @classmethod
    def enroll(
        cls,
        directory: Path,
        server: str,
        enrolment_token: str,
        trust: bytes,
        *,
        device_id: str,
        model: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        modules: list[str] | None = None,
        factory: Path | None = None,
        plain_http: bool = False,
        settings: Settings | None = None,
    ) -> "Agent":
        """Make this directory a device of a server; safe to repeat after any interruption.

        Args:
            directory: made where it is missing.
            server: base URL; https, or http to this machine.
            enrolment_token: from the operator.
            trust: envelope of the trust bundle, from a channel that the operator trusts.
            device_id: unique in the fleet.
            model: needed only where the server has several.
            attributes: facts that cohort rules and variants may ask for.
            modules: the components that this device wants; absent for all.
            factory: directory with `manifest.json` and the files that shipped inside the app.
            plain_http: allow http to another machine; the access token is readable on the way.
            settings: of the host.

        Raises:
            ContractError: the trust bundle, the factory files or the server say no.
        """
        chosen = settings or default_settings()
        store = Store(directory, chosen.files)
        store.create()
        store.forget_damage()
        trusted = TrustStore.install(directory, chosen.files, trust)
        configuration = Configuration(
            server=server.rstrip("/"),
            device_id=device_id,
            model=model,
            attributes=dict(attributes or {}),
            modules=modules,
            plain_http=plain_http,
            factory=str(factory.absolute()) if factory is not None else None,
        )
        key = DeviceKey.load_or_make(directory, chosen.files)
        api = DeviceApi(configuration, key, timeout=chosen.limits.timeout_s)
        if factory is not None:
            install_shipped(store, factory, trusted.bundle, modules)
        api.enrol(enrolment_token, configuration)
        configuration.save(directory, chosen.files)
        agent = cls(directory, chosen)
        agent._api = api
        return agent

    def update(self, runtime: Runtime | None = None, *, activator: Activator | None = None) -> Outcome:
        """Poll once and do all that follows from it.

        Args:
            runtime: loads and tries the new version before it counts; closed again afterwards.
            activator: instead of a runtime, whatever brings versions to life (`hotswap.HotSwap`).

        Raises:
            Busy: another process updates in this directory.
            StateDamaged: the record cannot be read.
        """
        chosen = activator or (OneShot(runtime) if runtime is not None else FilesOnly())
        settings = self._settings
        activation = self._activation(chosen)
        asker = Asker(self._store, self._api, self._configuration, self._trust, settings.host)
        asker.holds = not settings.low_storage
        gather = Gather(activation.steps, asker, settings.host, settings.limits, settings.pause)
        gather.low_storage = settings.low_storage
        return Update(activation.steps, asker, gather, activation).run()

    def starting(self) -> Installed | None:
        """What an app shall load now; call it before opening any file, and `started` once it is up.

        While a version is on probation each call counts as a start that may not end; after two of them
        the answer is the version before.

        Raises:
            Busy: another process updates in this directory.
            StateDamaged: the record cannot be read.
        """
        record = self._store.read()
        release = record.current
        if record.state is State.PROBATION or _moves_files(record):
            with self._store.exclusive(SOON_S):
                release = self._activation(FilesOnly()).starting()
        return self._store.installed(release) if release else None

    def started(self) -> None:
        """The app is up with what `starting` gave it."""
        self._activation(FilesOnly()).started()

    def report_health(
        self,
        *,
        good: bool,
        metrics: Mapping[str, float] | None = None,
        detail: str = "",
        activator: Activator | None = None,
    ) -> Outcome | None:
        """The app's word on a version that is on probation: commit it, or go back.

        Args:
            good: the version does its work.
            metrics: of the first real work, sent with the commit.
            detail: why not.
            activator: brings the old version back to life.

        Returns:
            What came of it; None when no version is on probation.

        Raises:
            Busy: another process updates in this directory.
        """
        with self._store.exclusive(SOON_S):
            activation = self._activation(activator or FilesOnly())
            return activation.health(good=good, metrics=metrics or {}, detail=detail)

    def describe(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Change facts about the device, for example after an update of the app; others stay as they are.

        Raises:
            OSError: nothing has changed.
        """
        merged = {**self._configuration.attributes, **attributes}
        changed = self._configuration.model_copy(update={"attributes": merged})
        if changed != self._configuration:
            changed.save(self._store.directory, self._store.files)
            self._configuration = changed

    def want_modules(self, modules: list[str] | None) -> None:
        """Choose the components that this device holds; None for all.

        A dropped module is gone at once; an added one comes with the next update, of the version that runs.

        Raises:
            MixedVersions: the running version has no such module; nothing has changed.
            Busy: another process updates in this directory.
        """
        with self._store.exclusive():
            keep_only(self._store, modules)
            self._configuration = self._configuration.model_copy(update={"modules": modules})
            self._configuration.save(self._store.directory, self._store.files)

    def _activation(self, activator: Activator) -> Activation:
        return Activation(Steps(self._store), activator, self._settings.host, self._settings.trial)

    def installed(self) -> Installed | None:
        """The version to load now; None on a device that has none yet.

        An update in place that was interrupted is finished first, which needs time but no network.

        Raises:
            Busy: another process updates in place right now.
            StateDamaged: the record cannot be read.
        """
        record = self._store.read()
        release = record.current
        if _moves_files(record):
            with self._store.exclusive(SOON_S):
                release = self._activation(FilesOnly()).whole()
        return self._store.installed(release) if release else None

    def report(self, metrics: Mapping[str, float]) -> None:
        """Queue what the running model measured, for example `quality` or `first_token_ms`."""
        moment = time.time()
        running = self._store.read().current
        event = Event(
            event_id=reports.event_id(moment),
            model=running.model if running else None,
            version=running.version if running else None,
            state="metrics",
            metrics=reports.usable(metrics),
        )
        self._store.change(lambda record: reports.queue(record, event))

    def flush(self) -> int:
        """Send queued events now; returns how many were confirmed.

        Raises:
            ContractError: no answer; they stay queued.
        """
        return reports.flush(self._store, self._api)

    def status(self) -> dict[str, Any]:
        """What an operator asks at the device; never a secret."""
        record = self._store.read()
        return {
            "device_id": self._configuration.device_id,
            "server": self._configuration.server,
            "model": record.model or self._configuration.model,
            "state": record.state.value,
            "version": record.current.version if record.current else None,
            "counter": record.current.counter if record.current else None,
            "previous": record.previous.version if record.previous else None,
            "attempt": json.loads(record.attempt.model_dump_json()) if record.attempt else None,
            "floor": record.floor,
            "bad": record.bad,
            "trust_version": self._trust.bundle.version,
            "events_queued": len(record.outbox),
            "last_verified_check_at": record.last_checked,
            "next_poll_s": record.next_poll_s,
        }


def _moves_files(record: Record) -> bool:
    return record.attempt is not None and bool(record.attempt.in_place)


def default_settings() -> Settings:
    """A machine on mains and cable."""
    return Settings(DiskFiles(), PlainHost(), Limits())
