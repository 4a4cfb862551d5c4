"""Downloads all missing components of an update: checks conditions and space, tries the options, renews URLs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sdk_contract.client.errors import NoSpace, UrlExpired
from sdk_contract.client.host.conditions import Host, require_conditions
from sdk_contract.client.lifecycle.state_machine import StateMachine
from sdk_contract.client.protocol import events
from sdk_contract.client.protocol.poller import Poller
from sdk_contract.client.protocol.verification import VerifiedUpdate
from sdk_contract.client.storage.client_state import ClientState, InPlaceStep
from sdk_contract.client.storage.undo_log import MAX_RANGE_BYTES
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.client.transfer.component_download import (
    ChunkSource,
    discard_partial,
    download_component,
    download_patch,
)
from sdk_contract.client.transfer.range_download import DownloadLimits
from sdk_contract.documents import Component, PatchDescriptor
from sdk_contract.errors import ContractError, MixedVersions, Reaction
from sdk_contract.patch import BaseMissing

MAX_URL_RENEWALS = 3
LARGE_DOWNLOAD_BYTES = 8 << 20
"""A download of at least this size is reported when it starts, so that operators see it in progress."""
IN_PLACE_SPACE_FACTOR = 3
"""Space for a patch and its undo log, as a multiple of the patch; the log compresses a little worse than the patch."""
SPACE_FACTOR = 1.1
"""Required free space, as a multiple of the bytes to write."""
EXTRA_SPACE_BYTES = 1 << 20
"""Further free space for the state, links and journals."""


class UpdateChanged(Exception):
    """The server answered a poll for new URLs with a different update.

    Attributes:
        update: the new update, verified.
    """

    def __init__(self, update: VerifiedUpdate) -> None:
        """Keep the new update."""
        super().__init__(update.directive.reason)
        self.update = update


@dataclass(slots=True)
class Downloader:
    """Downloads the missing components of an update into the store."""

    machine: StateMachine
    poller: Poller
    host: Host
    limits: DownloadLimits
    sleep: Callable[[float], None] = time.sleep
    low_storage: bool = False

    def download(self, update: VerifiedUpdate, missing: list[Component]) -> list[InPlaceStep]:
        """Download every component of `missing` by the first option that works.

        Returns:
            The components that still have to be patched in place; of these only the patches were downloaded.

        Raises:
            UpdateChanged: the server now orders another update.
            ContractError: its reaction says what to do next; files and attempt are kept for a resume.
            OSError: the disk failed.
        """
        require_conditions(update.conditions, self.host)
        in_place = self._plan_in_place(update, missing) if self.low_storage else {}
        new_files = [part for part in missing if part.name not in in_place]
        self._require_space(new_files, [descriptor for _, descriptor in in_place.values()])
        self.machine.meter.budget = self.host.conditions().byte_budget
        self.machine.transition(UpdateState.DOWNLOADING, "downloading")
        if sum(part.size for part in missing) >= LARGE_DOWNLOAD_BYTES:
            events.try_send_queued(self.machine.store, self.poller.api)
        for part in new_files:
            update = self._download_component(update, part)
        for name in in_place:
            update = self._download_patch(update, name)
        return [step for step, _ in in_place.values()]

    def _plan_in_place(
        self, update: VerifiedUpdate, missing: list[Component]
    ) -> dict[str, tuple[InPlaceStep, PatchDescriptor]]:
        """Select the components that a patch can update inside their own file, which nothing else may use."""
        full_file_only = self.machine.current_attempt().full_file_only
        failed_patches = self.machine.store.read_state().failed_patches
        selected = {}
        for part in missing:
            descriptor = _patch_descriptor(update, part.name)
            if descriptor is None or part.name in full_file_only or descriptor.patch.sha256 in failed_patches:
                continue
            if self._is_sole_user(descriptor, update):
                selected[part.name] = (self._in_place_step(part.name, descriptor), descriptor)
        return selected

    def _in_place_step(self, name: str, descriptor: PatchDescriptor) -> InPlaceStep:
        return InPlaceStep(
            name=name,
            source=descriptor.source,
            target=descriptor.target,
            patch_sha256=descriptor.patch.sha256,
            index_sha256=descriptor.index_sha256 or "",
            range_size=min(self.limits.in_place_range_bytes, MAX_RANGE_BYTES),
        )

    def _is_sole_user(self, descriptor: PatchDescriptor, update: VerifiedUpdate) -> bool:
        """Whether the patch's source is intact, and the file of exactly one component."""
        source, store = descriptor.source, self.machine.store
        current = store.read_state().current
        used = [
            *(current.components if current else []),
            *(update.release.components if update.release else []),
        ]
        users = sum(part.sha256 == source.sha256 for part in used)
        return users == 1 and store.verify_object(source.sha256, source.size)

    def _download_patch(self, update: VerifiedUpdate, name: str) -> VerifiedUpdate:
        """Download the complete patch, because an in-place update must not depend on the network."""
        for _ in range(MAX_URL_RENEWALS):
            option = next((option for option in update.options[name] if option.descriptor is not None), None)
            if option is None or option.descriptor is None:
                raise BaseMissing(f"{name}: the patch is no longer offered")
            try:
                download_patch(self._chunk_source(update), name, option.descriptor.patch, option.offer.url)
            except UrlExpired:
                update = self._renew_urls(update)
                continue
            self._record_format(option.offer.format)
            return update
        raise UrlExpired(f"{name}: {MAX_URL_RENEWALS} URLs of the patch had expired")

    def _require_space(self, new_files: list[Component], in_place: list[PatchDescriptor]) -> None:
        """Check the free space before the first byte; if it is too small, delete the previous version first.

        Raises:
            NoSpace: the disk is too full, also without the previous version.
        """
        store = self.machine.store
        patches = sum(descriptor.patch.size for descriptor in in_place)
        backups = 2 * self.limits.in_place_range_bytes if in_place else 0
        files = sum(part.size - min(part.size, store.partial_size(part.sha256)) for part in new_files)
        need = int(SPACE_FACTOR * (files + IN_PLACE_SPACE_FACTOR * patches)) + backups + EXTRA_SPACE_BYTES
        if store.file_system.free_bytes(store.directory) >= need:
            return
        store.collect_garbage(store.change_state(_drop_previous))
        free = store.file_system.free_bytes(store.directory)
        if free < need:
            raise NoSpace(f"the update needs {need} bytes of free space, and {free} are free")

    def _download_component(self, update: VerifiedUpdate, part: Component) -> VerifiedUpdate:
        """Download one component, and return the update with the newest URLs."""
        for _ in range(MAX_URL_RENEWALS):
            try:
                self._download_by_best_option(update, part)
            except UrlExpired:
                update = self._renew_urls(update)
                continue
            return update
        raise UrlExpired(f"{part.name}: {MAX_URL_RENEWALS} URLs had expired")

    def _download_by_best_option(self, update: VerifiedUpdate, part: Component) -> None:
        chunk_source = self._chunk_source(update)
        full_file_only = part.name in self.machine.current_attempt().full_file_only
        reasons = ", ".join(update.skipped_codes) or "none was offered"
        fault: ContractError = MixedVersions(f"{part.name}: no valid download option ({reasons})")
        for option in update.options.get(part.name, []):
            if option.descriptor is not None and full_file_only:
                continue
            try:
                download_component(chunk_source, part, option)
            except ContractError as error:
                if error.reaction is not Reaction.FULL_DOWNLOAD:
                    raise
                fault, full_file_only = error, True
                discard_partial(chunk_source, part)
                self._record_failed_patch(part, error)
                continue
            self._record_format(option.offer.format)
            return
        raise fault

    def _record_failed_patch(self, part: Component, fault: ContractError) -> None:
        """Use no more patches for this component in this attempt, and report the reason."""

        def edit(state: ClientState) -> None:
            if state.attempt is not None and part.name not in state.attempt.full_file_only:
                state.attempt.full_file_only.append(part.name)

        self.machine.transition(UpdateState.DOWNLOADING, "downloading", fault=fault, edit=edit)

    def _record_format(self, download_format: str) -> None:
        def edit(state: ClientState) -> None:
            if state.attempt is not None:
                is_same = state.attempt.download_format in (None, download_format)
                state.attempt.download_format = download_format if is_same else "mixed"

        self.machine.transition(UpdateState.DOWNLOADING, edit=edit)

    def _renew_urls(self, update: VerifiedUpdate) -> VerifiedUpdate:
        """Poll for new URLs of the same attempt.

        Raises:
            UpdateChanged: the server now orders another update.
            UrlExpired: the poll failed.
        """
        try:
            renewed = self.poller.poll()
        except ContractError as fault:  # a failed poll must not end the attempt, so its error is replaced
            raise UrlExpired(f"no new URL: {fault}") from fault
        same_attempt = renewed.directive.attempt_id == update.directive.attempt_id
        if renewed.release != update.release or not same_attempt:
            raise UpdateChanged(renewed)
        return renewed

    def _chunk_source(self, update: VerifiedUpdate) -> ChunkSource:
        def check_conditions() -> None:
            require_conditions(update.conditions, self.host)

        return ChunkSource(self.machine.store, self.machine.meter, self.limits, check_conditions, self.sleep)


def _patch_descriptor(update: VerifiedUpdate, name: str) -> PatchDescriptor | None:
    descriptors = (option.descriptor for option in update.options.get(name, []))
    return next((descriptor for descriptor in descriptors if descriptor is not None), None)


def _drop_previous(state: ClientState) -> None:
    state.previous = None
