"""One component's bytes, by one way: streamed into a partial file, proved, given its name.

A patch is applied while it downloads; what was written is noted every few MiB (`journal.py`), so that a cut
costs little. The final name is given only after the digest of the whole file was compared.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdk_contract.client.errors import BaseMissing
from sdk_contract.client.fetch import Limits, Meter, fetch
from sdk_contract.client.files import OpenFile, digest_of, publish
from sdk_contract.client.journal import Journal, Note
from sdk_contract.client.store import Store
from sdk_contract.client.verify import Route
from sdk_contract.documents import Bytes, Component, PatchDescriptor
from sdk_contract.errors import ContractError, InputHashMismatch, OutputHashMismatch, Reaction
from sdk_contract.patch import Applier, FileRange, PatchIndex, open_patch, parse_header
from sdk_contract.patch.container import PREAMBLE_SIZE


@dataclass(frozen=True, slots=True)
class Supply:
    """What every download needs.

    Attributes:
        check: asked between chunks; raises to pause.
        pause: waits between tries, seconds.
    """

    store: Store
    meter: Meter
    limits: Limits
    check: Callable[[], None]
    pause: Callable[[float], None]

    def chunks(self, url: str, offset: int, size: int) -> Iterator[bytes]:
        """As `fetch.fetch`, asking the host now and then whether the conditions still hold."""
        asked = time.monotonic()
        for chunk in fetch(url, offset, size, meter=self.meter, limits=self.limits, pause=self.pause):
            yield chunk
            if time.monotonic() - asked >= self.limits.check_every_s:
                self.check()
                asked = time.monotonic()


def obtain(supply: Supply, component: Component, route: Route) -> None:
    """Put the component into the object store by one way.

    Raises:
        ContractError: its reaction says whether to try again, to take the next way, or to wait.
        OSError: of the disk.
    """
    store = supply.store
    partial = store.partial / component.sha256
    journal = Journal(store.files, partial)
    target = store.files.open(partial)
    try:
        if route.descriptor is None:
            Whole(supply, component, target, journal).run(route.way.url)
        else:
            Patching(supply, component, route.descriptor, target, journal).run(route.way.url)
        target.truncate(component.size)
    except BaseException:
        target.close()
        raise
    publish(store.files, target, partial, store.objects / component.sha256)
    journal.clear()


def keep_patch(supply: Supply, name: str, patch: Bytes, url: str) -> None:
    """Fetch a whole patch into `partial/`, under its own digest, without applying it.

    Raises:
        ContractError: as `obtain`.
        OSError: of the disk.
    """
    store = supply.store
    path = store.partial / patch.sha256
    journal = Journal(store.files, path)
    target = store.files.open(path)
    try:
        wanted = Component(name=name, path=name, size=patch.size, sha256=patch.sha256)
        Whole(supply, wanted, target, journal).run(url)
        target.truncate(patch.size)
        target.sync()
    finally:
        target.close()
    store.files.sync_directory(store.partial)
    journal.write(Note(patch.sha256, patch.size))


def discard(supply: Supply, component: Component) -> None:
    """Forget what a failed way left behind; the note goes first, so that a crash between is harmless."""
    partial = supply.store.partial / component.sha256
    Journal(supply.store.files, partial).clear()
    supply.store.files.unlink(partial)


@dataclass(slots=True)
class Whole:
    """The file itself, resumed after the last note."""

    supply: Supply
    component: Component
    target: OpenFile
    journal: Journal

    def run(self, url: str) -> None:
        """Make the target.

        Raises:
            InputHashMismatch: these are other bytes.
            ContractError: of the network; what came is noted for a resume.
        """
        wanted, meter = self.component, self.supply.meter
        start = self.journal.read(wanted.sha256).offset
        digest = self._fill(url, start)
        if digest != wanted.sha256 and start:
            # The part from before the interruption may be at fault: the whole once more, from its first byte.
            meter.wasted += wanted.size - start
            digest = self._fill(url, 0)
        if digest != wanted.sha256:
            meter.wasted += wanted.size
            raise InputHashMismatch(f"{wanted.name} is {digest}")

    def _fill(self, url: str, start: int) -> str:
        """Write the file from `start` on; returns the digest of all of it, hex."""
        digest, offset = digest_of(self.target, start)
        noted = offset
        try:
            for chunk in self.supply.chunks(url, offset, self.component.size):
                self.target.write(offset, chunk)
                digest.update(chunk)
                offset += len(chunk)
                if offset - noted >= self.supply.limits.note_every:
                    noted = self._note(offset)
        except ContractError:
            self._note(offset)
            raise
        return digest.hexdigest()

    def _note(self, offset: int) -> int:
        return _note(self.target, self.journal, Note(self.component.sha256, offset))


def _note(target: OpenFile, journal: Journal, note: Note) -> int:
    """Sync the content, then write down how far it reaches."""
    target.sync()
    journal.write(note)
    return note.offset


@dataclass(slots=True)
class Patching:
    """A patch applied while it downloads; resumed at the block after the last note."""

    supply: Supply
    component: Component
    descriptor: PatchDescriptor
    target: OpenFile
    journal: Journal

    def run(self, url: str) -> None:
        """Make the target.

        Raises:
            ContractError: of the network, or a `PatchError`.
        """
        store, base = self.supply.store, self.descriptor.source
        if not store.has(base.sha256, base.size):
            raise BaseMissing(f"{self.component.name}: {base.sha256[:12]} is not here")
        with (store.objects / base.sha256).open("rb") as source:
            applier, head = self._resume(FileRange(source))
            if applier.index is not None:
                applier.feed(b"")  # blocks without a payload need no byte of the patch
            noted = applier.wanted
            try:
                for chunk in self.supply.chunks(url, noted, self.descriptor.patch.size):
                    head = self._feed(applier, head, chunk)
                    if applier.index is not None and applier.blocks == len(applier.index.records):
                        break  # what follows the last payload is for people
                    if applier.wanted - noted >= self.supply.limits.note_every:
                        noted = self._note(applier, head)
            except ContractError as fault:
                if fault.reaction is not Reaction.FULL:
                    self._note(applier, head)
                raise
            applier.finish()

    def _resume(self, source: FileRange) -> tuple[Applier, bytes]:
        expected = bytes.fromhex(self.descriptor.index_sha256 or "")
        note = self.journal.read(self.descriptor.patch.sha256)
        head = self.journal.head() if note.block else b""
        try:
            index = open_patch(head, index_sha256=expected) if head else None
            if index is not None:
                self._check_index(index)
                return Applier(source, self.target, index=index, start_block=note.block), head
        except (ContractError, OSError, EOFError):
            self.journal.clear()
        return Applier(source, self.target, index_sha256=expected), b""

    def _feed(self, applier: Applier, head: bytes, chunk: bytes) -> bytes:
        """Feed; the head is kept, since a resume needs it, and compared before a single block is made.

        Blocks of zeros need no payload: a head that was not compared first could fill the disk at once.
        """
        if applier.index is None:
            head += chunk
            if len(head) < PREAMBLE_SIZE or len(head) < parse_header(head).head_size:
                return head
            index = open_patch(head, index_sha256=bytes.fromhex(self.descriptor.index_sha256 or ""))
            self._check_index(index)
            chunk, head = head, head[: index.header.head_size]
        applier.feed(chunk)
        return head

    def _check_index(self, index: PatchIndex) -> None:
        """The head has the signed digest; it must also speak of the files that the signature names."""
        header = index.header
        target, base = self.component, self.descriptor.source
        if (header.target_sha256.hex(), header.target_size) != (target.sha256, target.size):
            raise OutputHashMismatch(f"the patch leads to {header.target_sha256.hex()[:12]}")
        if (header.source_sha256.hex(), header.source_size) != (base.sha256, base.size):
            raise OutputHashMismatch(f"the patch starts from {header.source_sha256.hex()[:12]}")

    def _note(self, applier: Applier, head: bytes) -> int:
        if applier.index is None or applier.blocks == 0:
            return 0
        offset = applier.index.payload_offset(applier.blocks)
        self.journal.keep_head(head)
        return _note(self.target, self.journal, Note(self.descriptor.patch.sha256, offset, applier.blocks))
