"""What the client remembers, as one file: replaced whole or not at all.

Versions, attempt, strikes, floor and unsent events live in *one* record, because a set of pointer files
cannot change together: a step and the event that reports it are one write, and no crash can leave
a current version without the counter that protects it.
"""

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.states import State
from sdk_contract.documents import Bytes, Component, Manifest, Name
from sdk_contract.errors import ContractError
from sdk_contract.rules import Memory
from sdk_contract.wire import Event

MAX_RECORD = 2 * 1024 * 1024
"""Bound of the file, bytes; 400 events and two releases of 64 components are far below it."""
MAX_OUTBOX = 400


class Release(BaseModel):
    """A version as this device holds it: the modules it wants, all of one manifest.

    Attributes:
        manifest_sha256: digest of the manifest's payload; names the version and the bad list's entries.
    """

    model_config = ConfigDict(frozen=True)

    manifest_sha256: str
    model: str
    version: str
    counter: int
    variant: str
    components: list[Component]

    @property
    def folder(self) -> str:
        """Name of its directory: one manifest may give another variant on another day."""
        return f"{self.manifest_sha256}.{self.variant}"

    @classmethod
    def of(cls, manifest: Manifest, digest: str, variant: str, components: list[Component]) -> Self:
        """The part of a manifest that a device wants."""
        return cls(
            manifest_sha256=digest,
            model=manifest.model,
            version=manifest.version,
            counter=manifest.counter,
            variant=variant,
            components=components,
        )


class InPlaceStep(BaseModel):
    """One component that is updated inside its own file.

    Attributes:
        patch_sha256: of the whole patch, which lies in `partial/` under this name.
        index_sha256: of its head, signed.
        range_size: bytes that are overwritten between two entries of the undo log.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    source: Bytes
    target: Bytes
    patch_sha256: str
    index_sha256: str
    range_size: int


class Attempt(BaseModel):
    """One try to install one release.

    Attributes:
        release: what shall run in the end.
        rollback: the server ordered an older version.
        held: once staged, it waits for the server's word to switch.
        proved: digests of objects that were read and compared in this attempt.
        no_patch: components whose patch failed; they are fetched whole now.
        in_place: components whose old file is, or was, turned into the new one.
        bytes: downloaded so far, wasted ones included.
        wasted: downloaded and thrown away.
        strikes: how often a trial of this release began and did not end well.
        seq: of the last event.
        hindrance: code of what kept it waiting last; each is reported once.
        started_at: wall clock in seconds, for durations only.
        probation_since: wall clock of the last start of the app with this version.
        probation_s: how long it may take from then to a good word.
    """

    attempt_id: str | None
    release: Release
    rollback: bool = False
    held: bool = False
    hindrance: str | None = None
    proved: list[str] = Field(default_factory=list)
    no_patch: list[str] = Field(default_factory=list)
    in_place: list[InPlaceStep] = Field(default_factory=list)
    way: str | None = None
    bytes: int = 0
    wasted: int = 0
    strikes: int = 0
    seq: int = 0
    started_at: float = 0.0
    probation_since: float = 0.0
    probation_s: float = 0.0


class Record(BaseModel):
    """Everything that the client must know after a restart.

    Attributes:
        current: what runs, and what a restart loads.
        previous: what ran before; kept until something newer has proved itself.
        shipped: what came inside the app; kept so that the server can order it back.
        floor: highest floor of any manifest ever accepted; nothing below it is installed.
        newest_issued: latest `issued` of a directive that agreed with our clock: time was at least this.
        bad: manifest digest -> code, for versions that failed their trial here.
        failed_patches: digests of patches that could not be applied in place; such a component is made beside.
        outbox: events that the server has not confirmed, oldest first.
    """

    schema_version: int = 1
    state: State = State.IDLE
    model: Name | None = None
    current: Release | None = None
    previous: Release | None = None
    shipped: Release | None = None
    attempt: Attempt | None = None
    floor: int = 0
    newest_issued: str = ""
    bad: dict[str, str] = Field(default_factory=dict)
    failed_patches: list[str] = Field(default_factory=list)
    outbox: list[Event] = Field(default_factory=list)
    last_checked: float | None = None
    next_poll_s: int = 0

    def memory(self) -> Memory:
        """What of it the rules of the contract ask for."""
        return Memory(self.current.counter if self.current else None, self.floor, self.newest_issued)

    @property
    def waiting(self) -> Release | None:
        """What is staged and waits for the server's word."""
        held = self.state is State.STAGED and self.attempt is not None and self.attempt.held
        return self.attempt.release if held and self.attempt is not None else None

    def to_bytes(self) -> bytes:
        """JSON, a line feed, and its SHA-256 in hex: a torn or rotten file is seen as such."""
        body = self.model_dump_json().encode()
        return body + b"\n" + hashlib.sha256(body).hexdigest().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            StateDamaged: the digest does not fit, or the fields do not.
        """
        body, _, digest = data.rpartition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise StateDamaged("the digest of the state file does not fit")
        try:
            return cls.model_validate_json(body)
        except (ValidationError, ContractError) as error:
            raise StateDamaged(str(error)) from error
