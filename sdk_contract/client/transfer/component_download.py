"""Downloads one component into a partial file, verifies it, and moves it to the objects.

A patch is applied while it is downloaded. A checkpoint every few MiB (`download_journal.py`) limits what an interruption
costs. The file gets its final name only after the digest of the complete file was verified.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdk_contract.client.protocol.verification import VerifiedOption
from sdk_contract.client.storage.download_journal import Checkpoint, DownloadJournal
from sdk_contract.client.storage.file_system import WritableFile, hash_prefix, publish_file
from sdk_contract.client.storage.store import Store
from sdk_contract.client.transfer.range_download import DownloadLimits, DownloadMeter, download_range
from sdk_contract.documents import Component, FileDigest, PatchDescriptor
from sdk_contract.errors import ContractError, InputHashMismatch, OutputHashMismatch, Reaction
from sdk_contract.patch import Applier, BaseMissing, FileRange, PatchIndex, parse_header, parse_index
from sdk_contract.patch.container import PREAMBLE_SIZE


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """Downloads byte ranges, and checks the device's conditions between chunks.

    Attributes:
        store: receives the files.
        meter: counts the received bytes.
        limits: timeouts, retries and intervals.
        check_conditions: raises an error when the download has to stop.
        sleep: waits between tries, seconds.
    """

    store: Store
    meter: DownloadMeter
    limits: DownloadLimits
    check_conditions: Callable[[], None]
    sleep: Callable[[float], None]

    def chunks(self, url: str, offset: int, size: int) -> Iterator[bytes]:
        """Like `download_range`, with regular checks of the device's conditions."""
        checked_at = time.monotonic()
        for chunk in download_range(
            url, offset, size, meter=self.meter, limits=self.limits, sleep=self.sleep
        ):
            yield chunk
            if time.monotonic() - checked_at >= self.limits.condition_interval_s:
                self.check_conditions()
                checked_at = time.monotonic()


def download_component(chunk_source: ChunkSource, component: Component, option: VerifiedOption) -> None:
    """Download a component by one option, and add it to the store's objects.

    Raises:
        ContractError: its reaction says whether to retry, to use the next option, or to wait.
        OSError: the disk failed.
    """
    store = chunk_source.store
    partial = store.partial / component.sha256
    journal = DownloadJournal(store.file_system, partial)
    target = store.file_system.open(partial)
    try:
        if option.descriptor is None:
            FullDownload(chunk_source, component, target, journal).run(option.offer.url)
        else:
            PatchDownload(chunk_source, component, option.descriptor, target, journal).run(option.offer.url)
        target.truncate(component.size)
    except BaseException:
        target.close()
        raise
    publish_file(store.file_system, target, partial, store.objects / component.sha256)
    journal.clear()


def download_patch(chunk_source: ChunkSource, name: str, patch: FileDigest, url: str) -> None:
    """Download a complete patch into `partial/`, under its own digest, without applying it.

    Raises:
        ContractError: as `download_component`.
        OSError: the disk failed.
    """
    store = chunk_source.store
    path = store.partial / patch.sha256
    journal = DownloadJournal(store.file_system, path)
    target = store.file_system.open(path)
    try:
        wanted = Component(name=name, path=name, size=patch.size, sha256=patch.sha256)
        FullDownload(chunk_source, wanted, target, journal).run(url)
        target.truncate(patch.size)
        target.sync()
    finally:
        target.close()
    store.file_system.sync_directory(store.partial)
    journal.write(Checkpoint(patch.sha256, patch.size))


def discard_partial(chunk_source: ChunkSource, component: Component) -> None:
    """Delete a partial file and its checkpoint; the checkpoint first, so that a crash in between is harmless."""
    partial = chunk_source.store.partial / component.sha256
    DownloadJournal(chunk_source.store.file_system, partial).clear()
    chunk_source.store.file_system.unlink(partial)


@dataclass(slots=True)
class FullDownload:
    """Downloads a full file, and resumes at the last checkpoint."""

    chunk_source: ChunkSource
    component: Component
    target: WritableFile
    journal: DownloadJournal

    def run(self, url: str) -> None:
        """Write the target file.

        Raises:
            InputHashMismatch: the content has a different digest.
            ContractError: the download failed; a checkpoint keeps its progress.
        """
        wanted, meter = self.component, self.chunk_source.meter
        start = self.journal.read(wanted.sha256).offset
        digest = self._download_from(url, start)
        if digest != wanted.sha256 and start:
            # The resumed part may be corrupt, so the complete file is downloaded once more.
            meter.wasted += wanted.size - start
            digest = self._download_from(url, 0)
        if digest != wanted.sha256:
            meter.wasted += wanted.size
            raise InputHashMismatch(f"{wanted.name} has the digest {digest}, expected {wanted.sha256}")

    def _download_from(self, url: str, start: int) -> str:
        """Write the file from `start` on, and return the digest of the complete file, hex."""
        digest, offset = hash_prefix(self.target, start)
        checkpoint = offset
        try:
            for chunk in self.chunk_source.chunks(url, offset, self.component.size):
                self.target.write(offset, chunk)
                digest.update(chunk)
                offset += len(chunk)
                if offset - checkpoint >= self.chunk_source.limits.checkpoint_bytes:
                    checkpoint = self._save_checkpoint(offset)
        except ContractError:
            self._save_checkpoint(offset)
            raise
        return digest.hexdigest()

    def _save_checkpoint(self, offset: int) -> int:
        return _save_checkpoint(self.target, self.journal, Checkpoint(self.component.sha256, offset))


def _save_checkpoint(target: WritableFile, journal: DownloadJournal, checkpoint: Checkpoint) -> int:
    """Sync the content, store the checkpoint, and return its offset."""
    target.sync()
    journal.write(checkpoint)
    return checkpoint.offset


@dataclass(slots=True)
class PatchDownload:
    """Applies a patch while it is downloaded, and resumes at the block of the last checkpoint."""

    chunk_source: ChunkSource
    component: Component
    descriptor: PatchDescriptor
    target: WritableFile
    journal: DownloadJournal

    def run(self, url: str) -> None:
        """Write the target file.

        Raises:
            ContractError: the download failed, or the patch did (`PatchError`).
        """
        store, base = self.chunk_source.store, self.descriptor.source
        if not store.has_object(base.sha256, base.size):
            raise BaseMissing(
                f"{self.component.name}: the patch's source {base.sha256[:12]} is not on this device"
            )
        with (store.objects / base.sha256).open("rb") as source:
            applier, head = self._resume(FileRange(source))
            if applier.index is not None:
                applier.feed(b"")  # applies leading blocks without a payload
            checkpoint = applier.next_offset
            try:
                for chunk in self.chunk_source.chunks(url, checkpoint, self.descriptor.patch.size):
                    head = self._feed(applier, head, chunk)
                    if applier.index is not None and applier.blocks_done == len(applier.index.records):
                        break  # only the patch's notes follow, and a device does not need them
                    if applier.next_offset - checkpoint >= self.chunk_source.limits.checkpoint_bytes:
                        checkpoint = self._save_checkpoint(applier, head)
            except ContractError as fault:
                if fault.reaction is not Reaction.FULL_DOWNLOAD:
                    self._save_checkpoint(applier, head)
                raise
            applier.finish()

    def _resume(self, source: FileRange) -> tuple[Applier, bytes]:
        expected = bytes.fromhex(self.descriptor.index_sha256 or "")
        checkpoint = self.journal.read(self.descriptor.patch.sha256)
        head = self.journal.read_head() if checkpoint.blocks_done else b""
        try:
            index = parse_index(head, index_sha256=expected) if head else None
            if index is not None:
                self._check_index(index)
                return Applier(source, self.target, index=index, start_block=checkpoint.blocks_done), head
        except (ContractError, OSError, EOFError):
            self.journal.clear()
        return Applier(source, self.target, index_sha256=expected), b""

    def _feed(self, applier: Applier, head: bytes, chunk: bytes) -> bytes:
        """Feed a chunk to the applier, and return the patch's head as far as it is known.

        The head is verified before the first block is applied, because blocks of zeros have no payload: an
        unverified head could fill the disk at once.
        """
        if applier.index is None:
            head += chunk
            if len(head) < PREAMBLE_SIZE or len(head) < parse_header(head).head_size:
                return head
            index = parse_index(head, index_sha256=bytes.fromhex(self.descriptor.index_sha256 or ""))
            self._check_index(index)
            chunk, head = head, head[: index.header.head_size]
        applier.feed(chunk)
        return head

    def _check_index(self, index: PatchIndex) -> None:
        """Check that the head names the files of the signed descriptor."""
        header = index.header
        target, base = self.component, self.descriptor.source
        if (header.target_sha256.hex(), header.target_size) != (target.sha256, target.size):
            raise OutputHashMismatch(f"the patch has another target: {header.target_sha256.hex()[:12]}")
        if (header.source_sha256.hex(), header.source_size) != (base.sha256, base.size):
            raise OutputHashMismatch(f"the patch has another source: {header.source_sha256.hex()[:12]}")

    def _save_checkpoint(self, applier: Applier, head: bytes) -> int:
        if applier.index is None or applier.blocks_done == 0:
            return 0
        offset = applier.index.payload_offset(applier.blocks_done)
        self.journal.save_head(head)
        checkpoint = Checkpoint(self.descriptor.patch.sha256, offset, applier.blocks_done)
        return _save_checkpoint(self.target, self.journal, checkpoint)
