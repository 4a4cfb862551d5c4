"""The client's public interface: enroll once, update regularly, and report metrics."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdk_contract.client.host.activator import Activator, FilesOnlyActivator, OneShotActivator, Runtime
from sdk_contract.client.host.conditions import Host, StaticHost
from sdk_contract.client.lifecycle.activation import Activation, TrialPolicy
from sdk_contract.client.lifecycle.component_selection import drop_unwanted_components
from sdk_contract.client.lifecycle.downloader import Downloader
from sdk_contract.client.lifecycle.factory_version import install_factory_version
from sdk_contract.client.lifecycle.result import UpdateResult
from sdk_contract.client.lifecycle.state_machine import StateMachine
from sdk_contract.client.lifecycle.update import UpdateRun
from sdk_contract.client.protocol import events
from sdk_contract.client.protocol.device_api import DeviceApi
from sdk_contract.client.protocol.poller import Poller
from sdk_contract.client.protocol.trust_store import TrustStore
from sdk_contract.client.storage.client_state import ClientState
from sdk_contract.client.storage.file_system import FileSystem, LocalFileSystem
from sdk_contract.client.storage.identity import DeviceConfiguration, DeviceKey
from sdk_contract.client.storage.store import InstalledVersion, Store
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.client.transfer.range_download import DownloadLimits
from sdk_contract.wire import AttributeValue, Event

LOCK_WAIT_S = 90.0
"""Longest wait for an update in another process, seconds; a start waits only if a trial is in progress."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of the client; `default_agent_settings` suits a Linux machine.

    Attributes:
        file_system: performs the disk operations.
        host: the platform.
        download_limits: timeouts, retries and intervals of downloads.
        sleep: waits for a number of seconds.
        trial: the rules for the trial of a new version.
        low_storage: patch components in place; the model cannot run meanwhile.
    """

    file_system: FileSystem
    host: Host
    download_limits: DownloadLimits
    sleep: Callable[[float], None] = time.sleep
    trial: TrialPolicy = field(default_factory=TrialPolicy)
    low_storage: bool = False


class Agent:
    """One device in one directory. It keeps no open file and no connection between calls.

    A process may have several agents, and several threads or processes may use one directory.
    """

    def __init__(self, directory: Path, settings: AgentSettings | None = None) -> None:
        """Open a directory that `enroll` created.

        Raises:
            StateDamaged: no device is enrolled in the directory, or its files are not readable.
        """
        self._settings = settings or default_agent_settings()
        self._store = Store(directory, self._settings.file_system)
        self._configuration = DeviceConfiguration.read(directory)
        self._trust = TrustStore(directory, self._settings.file_system)
        key = DeviceKey.load_or_create(directory, self._settings.file_system)
        self._api = DeviceApi(self._configuration, key, timeout=self._settings.download_limits.timeout_s)

    @classmethod
    def enroll(
        cls,
        directory: Path,
        server: str,
        enrollment_token: str,
        trust_envelope: bytes,
        *,
        device_id: str,
        model: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        wanted_components: list[str] | None = None,
        factory: Path | None = None,
        allow_http: bool = False,
        settings: AgentSettings | None = None,
    ) -> "Agent":
        """Enroll a device, and create its directory. The call is safe to repeat after an interruption.

        Args:
            directory: created if it is missing.
            server: base URL: https, or http to this machine.
            enrollment_token: from the operator.
            trust_envelope: envelope of the trust bundle, from a channel that the operator trusts.
            device_id: unique in the fleet.
            model: the model to poll for; needed only if the server has several.
            attributes: device attributes for cohort rules and variant selectors.
            wanted_components: names of the components to install; absent for all.
            factory: directory with `manifest.json` and the files that shipped with the app.
            allow_http: allow http to another machine, which exposes the access token on the network.
            settings: of the client.

        Raises:
            ContractError: the trust bundle or the factory files are invalid, or the server rejected the enrollment.
        """
        settings = settings or default_agent_settings()
        store = Store(directory, settings.file_system)
        store.create()
        store.reset_damaged_state()
        trust = TrustStore.install(directory, settings.file_system, trust_envelope)
        configuration = DeviceConfiguration(
            server=server.rstrip("/"),
            device_id=device_id,
            model=model,
            attributes=dict(attributes or {}),
            wanted_components=wanted_components,
            allow_http=allow_http,
            factory=str(factory.absolute()) if factory is not None else None,
        )
        key = DeviceKey.load_or_create(directory, settings.file_system)
        api = DeviceApi(configuration, key, timeout=settings.download_limits.timeout_s)
        if factory is not None:
            install_factory_version(store, factory, trust.bundle, wanted_components)
        api.enroll(enrollment_token, configuration)
        configuration.save(directory, settings.file_system)
        agent = cls(directory, settings)
        agent._api = api
        return agent

    def update(self, runtime: Runtime | None = None, *, activator: Activator | None = None) -> UpdateResult:
        """Poll once, and install what the server orders.

        Args:
            runtime: loads and tests a new version before its commit, and closes it afterwards.
            activator: replaces the runtime, for example by `HotSwap`; without both, only the files are verified.

        Returns:
            The result; errors of network, server, disk and model are results, not exceptions.

        Raises:
            Busy: another process updates in this directory.
            StateDamaged: the state cannot be read.
        """
        activator = activator or (OneShotActivator(runtime) if runtime is not None else FilesOnlyActivator())
        settings = self._settings
        activation = self._activation(activator)
        poller = Poller(self._store, self._api, self._configuration, self._trust, settings.host)
        poller.supports_deferred_activation = not settings.low_storage
        downloader = Downloader(
            activation.machine, poller, settings.host, settings.download_limits, settings.sleep
        )
        downloader.low_storage = settings.low_storage
        return UpdateRun(activation.machine, poller, downloader, activation).run()

    def begin_start(self) -> InstalledVersion | None:
        """Return the version to load at the app's start. Call it before any file is opened.

        During a trial each call counts as a failed start until `confirm_start`. After two failed starts the previous
        version is returned.

        Raises:
            Busy: another process updates in this directory.
            StateDamaged: the state cannot be read.
        """
        state = self._store.read_state()
        release = state.current
        if state.update_state is UpdateState.PROBATION or _updates_in_place(state):
            with self._store.update_lock(LOCK_WAIT_S):
                release = self._activation(FilesOnlyActivator()).begin_start()
        return self._store.link_release(release) if release else None

    def confirm_start(self) -> None:
        """Confirm that the app runs with the version from `begin_start`."""
        self._activation(FilesOnlyActivator()).confirm_start()

    def report_health(
        self,
        *,
        good: bool,
        metrics: Mapping[str, float] | None = None,
        detail: str = "",
        activator: Activator | None = None,
    ) -> UpdateResult | None:
        """Commit the version on probation, or roll it back.

        Args:
            good: whether the version works.
            metrics: metrics of its work, sent with the commit.
            detail: the reason for bad health.
            activator: restores the old version after a rollback.

        Returns:
            The result; None when no version is on probation.

        Raises:
            Busy: another process updates in this directory.
        """
        with self._store.update_lock(LOCK_WAIT_S):
            activation = self._activation(activator or FilesOnlyActivator())
            return activation.report_health(good=good, metrics=metrics or {}, detail=detail)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Change some attributes of the device, for example after an update of the app.

        Raises:
            OSError: the disk failed, and nothing has changed.
        """
        merged = {**self._configuration.attributes, **attributes}
        changed = self._configuration.model_copy(update={"attributes": merged})
        if changed != self._configuration:
            changed.save(self._store.directory, self._store.file_system)
            self._configuration = changed

    def set_wanted_components(self, wanted_components: list[str] | None) -> None:
        """Choose the components to install; None for all.

        A removed component is deleted at once. An added component comes with the next update.

        Raises:
            MixedVersions: the current version has no such component; nothing has changed.
            Busy: another process updates in this directory.
        """
        with self._store.update_lock():
            drop_unwanted_components(self._store, wanted_components)
            self._configuration = self._configuration.model_copy(
                update={"wanted_components": wanted_components}
            )
            self._configuration.save(self._store.directory, self._store.file_system)

    def _activation(self, activator: Activator) -> Activation:
        return Activation(StateMachine(self._store), activator, self._settings.host, self._settings.trial)

    def installed(self) -> InstalledVersion | None:
        """Return the version to load; None if the device has none yet.

        An interrupted in-place update is finished first, which takes time but needs no network.

        Raises:
            Busy: another process is updating in place.
            StateDamaged: the state cannot be read.
        """
        state = self._store.read_state()
        release = state.current
        if _updates_in_place(state):
            with self._store.update_lock(LOCK_WAIT_S):
                release = self._activation(FilesOnlyActivator()).complete_release()
        return self._store.link_release(release) if release else None

    def report_metrics(self, metrics: Mapping[str, float]) -> None:
        """Queue metrics of the running model, for example `quality` or `first_token_ms`."""
        current = self._store.read_state().current
        event = Event(
            event_id=events.new_event_id(time.time()),
            model=current.model if current else None,
            version=current.version if current else None,
            state="metrics",
            metrics=events.valid_metrics(metrics),
        )
        self._store.change_state(lambda state: events.enqueue(state, event))

    def send_events(self) -> int:
        """Send the queued events, and return the number of confirmed ones.

        Raises:
            ContractError: the server cannot be reached; the events stay queued.
        """
        return events.send_queued(self._store, self._api)

    def status(self) -> dict[str, Any]:
        """Return the device's version and state for an operator, without secrets."""
        state = self._store.read_state()
        return {
            "device_id": self._configuration.device_id,
            "server": self._configuration.server,
            "model": state.model or self._configuration.model,
            "state": state.update_state.value,
            "version": state.current.version if state.current else None,
            "counter": state.current.counter if state.current else None,
            "previous": state.previous.version if state.previous else None,
            "attempt": json.loads(state.attempt.model_dump_json()) if state.attempt else None,
            "floor": state.floor,
            "blocklist": state.blocklist,
            "trust_version": self._trust.bundle.version,
            "events_queued": len(state.outbox),
            "last_verified_check_at": state.last_verified_check_at,
            "next_poll_s": state.next_poll_s,
        }


def _updates_in_place(state: ClientState) -> bool:
    return state.attempt is not None and bool(state.attempt.in_place_steps)


def default_agent_settings() -> AgentSettings:
    """Settings for a machine with external power and an unmetered network."""
    return AgentSettings(LocalFileSystem(), StaticHost(), DownloadLimits())
