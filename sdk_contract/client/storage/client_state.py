"""The client's persistent state: one file that is always replaced as a whole.

Versions, attempt, failed starts, floor and unsent events share one file because several files cannot change
atomically. A transition and its event are one write, and no crash can separate the current version from the
counter that protects it.
"""

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.storage.update_states import UpdateState
from sdk_contract.documents import Component, FileDigest, Manifest, Name
from sdk_contract.errors import ContractError
from sdk_contract.verification import TrustState
from sdk_contract.wire import Event

MAX_STATE_BYTES = 2 * 1024 * 1024
"""Maximum size of the state file, bytes; 400 events and two releases of 64 components are far smaller."""
MAX_OUTBOX = 400


class Release(BaseModel):
    """A version in this device's variant, with the components that the device wants.

    Attributes:
        manifest_sha256: digest of the manifest's payload; identifies the version, also in the blocklist.
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
        """Name of its directory; it includes the variant, because a device's variant may change."""
        return f"{self.manifest_sha256}.{self.variant}"

    @classmethod
    def from_manifest(
        cls, manifest: Manifest, digest: str, variant: str, components: list[Component]
    ) -> Self:
        """Create a release from the wanted components of a manifest."""
        return cls(
            manifest_sha256=digest,
            model=manifest.model,
            version=manifest.version,
            counter=manifest.counter,
            variant=variant,
            components=components,
        )


class InPlaceStep(BaseModel):
    """One component that is patched inside its existing file.

    Attributes:
        patch_sha256: digest of the complete patch, which is stored in `partial/` under this name.
        index_sha256: signed digest of the patch's header and index.
        range_size: bytes per overwritten range, and per entry of the undo log.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    source: FileDigest
    target: FileDigest
    patch_sha256: str
    index_sha256: str
    range_size: int


class Attempt(BaseModel):
    """One attempt to install one release.

    Attributes:
        attempt_id: the server's id of the attempt.
        release: the release to install.
        rollback: whether the server ordered an older version.
        activation_deferred: whether the staged release waits for a directive that allows activation.
        last_wait_code: code of the last reason to wait; the same reason is not reported twice in a row.
        verified_objects: digests of objects that were verified in this attempt.
        full_file_only: components whose patch failed, and which are now downloaded as full files.
        in_place_steps: components whose file is patched in place.
        download_format: `glp1`, `full`, or `mixed` when components differ.
        bytes_downloaded: total bytes so far, including wasted ones.
        bytes_wasted: bytes that were downloaded and discarded.
        failed_starts: loads or starts that began and were not confirmed.
        last_event_seq: sequence number of the last event.
        started_at: wall clock in seconds, used for durations only.
        probation_since: wall clock of the app's last start with this version, seconds.
        probation_s: time after that within which the app must report good health.
    """

    attempt_id: str | None
    release: Release
    rollback: bool = False
    activation_deferred: bool = False
    last_wait_code: str | None = None
    verified_objects: list[str] = Field(default_factory=list)
    full_file_only: list[str] = Field(default_factory=list)
    in_place_steps: list[InPlaceStep] = Field(default_factory=list)
    download_format: str | None = None
    bytes_downloaded: int = 0
    bytes_wasted: int = 0
    failed_starts: int = 0
    last_event_seq: int = 0
    started_at: float = 0.0
    probation_since: float = 0.0
    probation_s: float = 0.0


class ClientState(BaseModel):
    """Everything that the client must remember across restarts.

    Attributes:
        update_state: the state of the update state machine.
        current: the release that runs, and that a restart loads.
        previous: the release that ran before; kept as the rollback target until a newer one is committed.
        factory: the release that shipped with the app.
        attempt: the attempt in progress.
        floor: the highest counter floor of all accepted manifests; no older version is installed.
        newest_issued: latest `issued` time of a directive that agreed with the device's clock.
        blocklist: manifest digest -> error code of each version that failed its trial on this device.
        failed_patches: digests of patches that failed in place; their components use the regular download instead.
        outbox: events that the server has not confirmed, oldest first.
        last_verified_check_at: wall clock of the last verified poll, seconds.
        next_poll_s: poll interval from the last directive, seconds.
    """

    schema_version: int = 1
    update_state: UpdateState = UpdateState.IDLE
    model: Name | None = None
    current: Release | None = None
    previous: Release | None = None
    factory: Release | None = None
    attempt: Attempt | None = None
    floor: int = 0
    newest_issued: str = ""
    blocklist: dict[str, str] = Field(default_factory=dict)
    failed_patches: list[str] = Field(default_factory=list)
    outbox: list[Event] = Field(default_factory=list)
    last_verified_check_at: float | None = None
    next_poll_s: int = 0

    def trust_state(self) -> TrustState:
        """The values that verification needs: counter, floor and newest signature time."""
        return TrustState(self.current.counter if self.current else None, self.floor, self.newest_issued)

    @property
    def deferred_release(self) -> Release | None:
        """The staged release whose activation is deferred, if any."""
        if self.update_state is not UpdateState.STAGED or self.attempt is None:
            return None
        return self.attempt.release if self.attempt.activation_deferred else None

    def to_bytes(self) -> bytes:
        """Serialize to JSON, a line feed, and the SHA-256 of the JSON in hex, which reveals corruption."""
        body = self.model_dump_json().encode()
        return body + b"\n" + hashlib.sha256(body).hexdigest().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse the output of `to_bytes`.

        Raises:
            StateDamaged: the digest does not match, or a field is invalid.
        """
        body, _, digest = data.rpartition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise StateDamaged("the digest of the state file does not match its content")
        try:
            return cls.model_validate_json(body)
        except (ValidationError, ContractError) as error:
            raise StateDamaged(str(error)) from error
